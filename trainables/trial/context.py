"""Context that all trials of a sweep share, and the schedule of their evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.trial.failure_detection import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainables.config import GanConfig, PixelPlace, Precision
    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer
    from trainables.trial.initial_weights import InitialWeights


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a trial: after ``kimg`` thousand images of its budget, on ``samples`` generated images."""

    kimg: int
    samples: int


@dataclass(frozen=True)
class TrialContext:
    """Data, scorer and limits that all trials of a sweep share; sent to each node once."""

    images: TaggedImages
    scoring: Scorer | Callable[[], Scorer]
    """The scorer, or a function that waits for one that is prepared beside the first trials."""
    evaluations: tuple[Evaluation, ...]
    """In ascending order; training ends with the last."""
    threads: int = 1
    device: str = "cpu"
    checkpoint_seconds: float = 300.0
    """Seconds between two saves of the state within an interval, however many trials share the process. The state is
    also saved at every evaluation."""
    gpu_share: float = 1.0
    """Share of the GPU's memory. A process that needs more runs out of memory; its neighbours do not."""
    max_seconds: float | None = None
    """Time limit of a trial; None for no limit."""
    failure_rules: tuple[str, ...] = tuple(RULES)
    """Names of the rules in ``trainables.trial.failure_detection`` that end a trial early."""
    pixels: PixelPlace = "device"
    """Where training takes its batches from; auto: from the device if the pixels take a small share of its memory."""
    precision: Precision = "float32"
    """Precision of the forward passes in training; scores are measured in float32."""
    initial: InitialWeights | None = None
    """Weights that networks start from; None for a random start."""
    recipe_flops: float | None = None
    """Operations of the recipe per image: a trial gets those of ``evaluations`` of the recipe."""
    timed_recipe: GanConfig | None = None
    """The recipe: a trial gets the seconds that ``evaluations`` take it, by a measurement where the trial starts."""

    @cached_property
    def scorer(self) -> Scorer:
        """The scorer; the first use may wait for it."""
        return self.scoring() if callable(self.scoring) else self.scoring

    @property
    def counts_images(self) -> bool:
        """Whether images are what all trials get alike; else operations or seconds are."""
        return self.recipe_flops is None and self.timed_recipe is None

    @property
    def max_kimg(self) -> int:
        """The budget of a trial, in kimg of the recipe unless images are what all trials get."""
        return self.evaluations[-1].kimg
