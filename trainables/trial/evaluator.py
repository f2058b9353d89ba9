"""Scores and sample grids of a trial's averaged generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from trainables.networks.blocks import recalibrate_batch_norm
from trainables.scoring.translation import score_translation
from trainables.storage.atomic import write_json
from trainables.training.inputs import calibration_inputs
from trainables.trial.latency import latency_ms
from trainables.visuals.confusion_sheet import draw_confusions
from trainables.visuals.image_grid import write_png
from trainables.visuals.panels import panel_names
from trainables.visuals.sample_sheet import draw_sheet
from trainables.visuals.translation_sheet import draw_translations

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from torch import Tensor, nn

    from trainables.config import GanConfig
    from trainables.networks.generator import Generator
    from trainables.scoring.results import Scores
    from trainables.scoring.tag_classifier.tag_accuracy import TagReport
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext


class Evaluator:
    """Scores one generator and draws its images.

    Args:
        context: data, scorer and device.
        config: the configuration that the generator was built from.
        generator: maps noise and tags, or images and labels, to images ``(n, 3, s, s)`` in [-1, 1].
        storage: receives the sample grids and panels.
    """

    def __init__(self, context: TrialContext, config: GanConfig, generator: nn.Module, storage: Storage) -> None:
        self.context, self.config, self.generator, self.storage = context, config, generator, storage
        self._run = self.translate if config.translates else self.draw

    @torch.no_grad()
    def draw(self, noise: Tensor, tags: Tensor) -> Tensor:
        """Draw images ``(n, 3, s, s)`` in [-1, 1]."""
        return cast("Generator", self.generator).image(noise, tags)

    @torch.no_grad()
    def translate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Translate images ``(n, 3, s, s)`` in [-1, 1] to ``labels`` ``(n, groups)``."""
        translated: Tensor = self.generator(images, labels)
        return translated

    def recalibrate(self) -> None:
        """Recalibrate the batch-norm statistics for the averaged weights, on inputs from a separate seed."""
        draw_inputs = self._calibration_inputs()
        recalibrate_batch_norm(self.generator, lambda: self._run(*draw_inputs()))

    def score(self, samples: int) -> Scores:
        """Score ``samples`` generated images."""
        scorer, device = self.context.scorer, self.context.device
        if self.config.translates:
            return score_translation(scorer, self.translate, device, samples=samples)
        return scorer.score(
            self.draw, self.config.generator.noise_dim, device, conditional=self.config.conditional, samples=samples
        )

    def latency_ms(self, clock: Callable[[], float]) -> float:
        """Return the median milliseconds for one image, measured by a ``clock`` in seconds."""
        return latency_ms(self._run, self._calibration_inputs()(), self.context.device, clock)

    def write_images(self, kimg: int, tags: TagReport | None, *, done: bool) -> list[str]:
        """Write the sample grid and, at the end of the budget (``done``), all panels and the confusion matrix of tags.

        Args:
            kimg: the part of the budget that is used, which names the grid.
            tags: the last score's.
            done: the budget is used.

        Returns:
            The names of the files in the storage.
        """
        first = "translation" if self.config.translates else "noise"
        sheet = self._draw_panel(first)
        names = [self._write(sheet, f"samples/kimg-{kimg:06d}.png")]
        if done and self.config.conditional:
            panels = (first,) if self.config.translates else panel_names(self.context.images.vocabulary)
            for name in panels:
                names.append(self._write(sheet if name == first else self._draw_panel(name), f"panels/{name}.png"))
        if done and tags:
            names += ["panels/confusion.png", "panels/confusion.json"]
            confusions = tags.confusions()
            self._write(draw_confusions(confusions), names[-2])
            with self.storage.writing(names[-1]) as path:
                write_json(path, confusions)
        return names

    def _draw_panel(self, name: str) -> Image:
        """Draw a panel; its noise or source images are the same in every trial of the sweep."""
        images, seed, device = self.context.images, self.context.scorer.seed + 2, self.context.device
        if name == "translation":
            return draw_translations(self.config, images, self.translate, seed=seed, device=device)
        return draw_sheet(
            name, images, self.draw, noise_dim=self.config.generator.noise_dim,
            seed=seed, device=device, conditional=self.config.conditional,
        )  # fmt: skip

    def _write(self, image: Image, name: str) -> str:
        with self.storage.writing(name) as path:
            write_png(image, path)
        return name

    def _calibration_inputs(self) -> Callable[[], tuple[Tensor, Tensor]]:
        context = self.context
        return calibration_inputs(self.config, context.images, context.scorer.seed + 1, context.device)
