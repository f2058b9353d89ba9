"""One trial: a configuration trained and scored in intervals. Plain Python: no Ray, no MLflow, no Optuna."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import psutil
import torch
from safetensors.torch import save
from threadpoolctl import threadpool_limits

from trainables.checkpoint import (
    BEST_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Checkpoints,
    Restored,
    read_results,
    write_results,
)
from trainables.config import GanConfig
from trainables.data.tags import combinations
from trainables.errors import UserError
from trainables.files import write_json
from trainables.hopeless import RULES, hopeless
from trainables.inputs import settling_inputs, training_data
from trainables.latency import latency_ms
from trainables.loop import Diverged, OutOfTime, TrainingLoop
from trainables.machine import system_metrics
from trainables.mutations import MUTATIONS, Mutation, mutated, read_mutations
from trainables.networks.blocks import count_parameters, settle_batch_norm
from trainables.panels import panel_names
from trainables.scoring.tag_report import draw_confusions
from trainables.sheets import draw_sheet
from trainables.stopwatch import Stopwatch
from trainables.systems.build import build_system
from trainables.translation_sheets import draw_translations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.networks.generator import Generator
    from trainables.precision import Precision
    from trainables.scoring.scorer import Scorer, Scores
    from trainables.storage import Storage


@dataclass(frozen=True)
class Evaluation:
    """A point of training at which a trial is scored: after ``kimg``, on ``samples`` generated pictures."""

    kimg: int
    samples: int


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a sweep share; sent to each node once."""

    images: TaggedImages
    scorer: Scorer
    evaluations: tuple[Evaluation, ...]
    """Ascending; training ends with the last."""
    threads: int = 1
    device: str = "cpu"
    checkpoint_seconds: float = 300.0
    """Within an interval, the state is saved as often as this, however many trials share the process; it is saved at
    every evaluation besides."""
    gpu_share: float = 1.0
    """Of the GPU's memory: a process that asks for more runs out of memory, and not its neighbours."""
    max_seconds: float | None = None
    """A trial that has taken longer is stopped."""
    end_hopeless: tuple[str, ...] = tuple(RULES)
    """Rules of ``trainables.hopeless`` by which a trial fails."""
    precision: Precision = "float32"
    """Of the forward passes in training; scores are measured in float32."""

    @property
    def max_kimg(self) -> int:
        """The budget of a trial."""
        return self.evaluations[-1].kimg


@dataclass(frozen=True)
class Interval:
    """What a trial trains for before its next score."""

    evaluation: Evaluation
    seconds: float
    """How long it may take."""
    said: dict[str, str]
    """What the result tells the user besides."""


Trained = dict[str, float] | Diverged | OutOfTime
"""What training for an interval comes to: figures, or why it ended early."""


class Trial:
    """Trains one configuration, one evaluation interval per ``step``.

    Args:
        context: data, scorer and budget.
        params: flat dotted parameters of the configuration.
        seed: seeds initial weights, batches and noise; equal seeds give equal weights on a CPU.
        storage: where weights, pictures, results and checkpoints go.
        clock: seconds from any start.
        others: holds the folders of the sweep's trials by key, for those that take over another's networks.
    """

    def __init__(
        self,
        context: TrialContext,
        params: Mapping[str, Any],
        seed: int,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
        others: Storage | None = None,
    ) -> None:
        torch.set_num_threads(context.threads)
        threadpool_limits(context.threads)  # NumPy's, or the scores of concurrent trials would fight for the cores
        if context.device.startswith("cuda") and 0 < context.gpu_share < 1:
            torch.cuda.set_per_process_memory_fraction(context.gpu_share)
        self.context, self.seed, self.storage, self._clock = context, seed, storage, clock
        self._process = clock.process if isinstance(clock, Stopwatch) else clock
        """What has not been saved gets older while others are trained, too."""
        self.others = others
        self.first_config = GanConfig.from_params({**params, "image_size": context.images.size})
        self.config = self.first_config
        """Mutations change it."""
        pairs = combinations(context.images.labels[: context.images.complete])
        self.pairs = pairs if self.config.tags.encoding == "pairs" else ()
        self.checkpoints = Checkpoints(storage)
        self.notice = ""
        """What the next result tells the user."""
        self._begin()
        psutil.cpu_percent()  # measures from one call to the next: the first one only starts it
        self._write_config()

    def _write_config(self) -> None:
        about = {
            "params": self.first_config.to_params(),
            "seed": self.seed,
            "pairs": self.pairs,
            "precision": self.context.precision,
        }
        with self.storage.writing(CONFIG_FILE) as path:
            write_json(path, {**about, **({MUTATIONS: self.mutations} if self.mutations else {})})

    def _begin(self) -> None:
        """Untrained networks, and nothing scored."""
        self.config, self.mutations = self.first_config, list[Mutation]()
        torch.manual_seed(self.seed)
        context = self.context
        images = context.images
        system = build_system(self.config, images.vocabulary.sizes, images.target_places, self.pairs, context.precision)
        self.parameters = {
            "generator_parameters": count_parameters(system.generator),
            "discriminator_parameters": count_parameters(system.discriminator),
        }
        self.loop = TrainingLoop(
            system, training_data(self.config, images, context.device), self.config, context.max_kimg * 1000
        )
        self.kimg, self.seconds = 0, 0.0
        self.results: list[dict[str, Any]] = []
        self._stepped = self._counted = self._clock()
        self._saved = self._process()

    @torch.no_grad()
    def draw(self, noise: Tensor, tags: Tensor) -> Tensor:
        """Pictures ``(n, 3, s, s)`` in [-1, 1] from the averaged generator."""
        return cast("Generator", self.loop.average).picture(noise, tags)

    @torch.no_grad()
    def translate(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Pictures ``(n, 3, s, s)`` in [-1, 1] as ``labels`` ``(n, groups)`` ask, from the averaged generator."""
        translated: Tensor = self.loop.average(pictures, labels)
        return translated

    def step(self) -> dict[str, Any]:
        """Train for one interval, score, draw samples, save.

        Returns:
            ``kimg``, ``seconds``, ``done``, every score and figure; ``pictures`` (names in the storage);
            on divergence, or where there is no hope, ``failure`` with the reason and ``done``; ``notice``, when the
            user should know something. A trial that has used its budget, or its hope, gives its last result again.
        """
        interval = self.begin_interval()
        if isinstance(interval, dict):
            return interval
        trained: Trained
        try:
            trained = self.loop.train_until(interval.evaluation.kimg * 1000, interval.seconds, self.save_if_due)
        except (Diverged, OutOfTime) as reason:
            trained = reason
        return self.end_interval(interval, trained)

    def begin_interval(self) -> Interval | dict[str, Any]:
        """What is to be trained next, or the result where there is nothing to train any more."""
        if self.others is not None and self.kimg < self.context.max_kimg:
            self._mutate(self.others)
        said = {"notice": self.notice} if self.notice else {}
        self.notice = ""
        if self.results and (self.kimg >= self.context.max_kimg or self._hopeless()):
            return {**self.results[-1], "train_seconds": 0.0, "score_seconds": 0.0, **self._hopeless(), **said}
        self._stepped = self._counted = self._clock()
        evaluation = next(one for one in self.context.evaluations if one.kimg > self.kimg)
        limit = math.inf if self.context.max_seconds is None else self.context.max_seconds
        return Interval(evaluation, limit - self.seconds, said)

    def end_interval(self, interval: Interval, trained: Trained) -> dict[str, Any]:
        """Score, draw samples and save after an interval, or say why it did not come to its end."""
        evaluation, said = interval.evaluation, interval.said
        if isinstance(trained, Diverged):
            self._count_seconds()
            spent = {"seconds": self.seconds, "train_seconds": self._since(self._stepped)}
            return {"kimg": self.kimg, **spent, "failure": f"diverged: {trained}", "done": True, **said}
        if isinstance(trained, OutOfTime):
            self._count_seconds()
            reason = f"out of time: took more than {self.context.max_seconds:g} s, {trained}"
            return {**self._out_of_time(reason), **said}
        self.kimg = evaluation.kimg
        # What a process does at its first score alone (building networks, say) must not reach the training.
        with torch.random.fork_rng([self.context.device] if self.context.device.startswith("cuda") else []):
            result = self._evaluate(trained, evaluation.samples)
        # A distance of more samples never competes with one of fewer.
        alike = [earlier for earlier in self.results if earlier["samples"] == result["samples"]]
        best = all(result["distance"] < earlier["distance"] for earlier in alike)
        self._save_weights(WEIGHTS_FILE, *([BEST_FILE] if best else []))
        # In this order: wherever the process dies, the journal has every result that a checkpoint has.
        self.results.append(result)
        write_results(self.storage, self.results)
        self.save()
        return {**result, **self._hopeless(), **said}

    def _mutate(self, others: Storage) -> None:
        """Carry out an order that came with the last result (population-based training)."""
        orders = [order for order in read_mutations(self.storage) if order["kimg"] == self.kimg]
        if not orders or orders[-1] in self.mutations:
            return
        source = orders[-1]["source"]
        try:
            adopted = Checkpoints(others.below(source)).restore(self._adopt, lambda: None)
        except UserError as error:  # a checkpoint goes when a newer one comes
            adopted = Restored(False, str(error))
        if not adopted.found:
            self.notice = f"keeps its networks, for those of {source} cannot be taken over: {adopted.problem or 'none'}"
            return
        self._go_on_mutated([*self.mutations, orders[-1]])
        self._write_config()
        self.save()

    def _adopt(self, state: dict[str, Any]) -> None:
        # Where trials wait for slots, one that began earlier may be far ahead: the copy would be trained for longer
        # than its kimg say.
        limit = next(one.kimg for one in self.context.evaluations if one.kimg > self.kimg)
        trained = int(state["loop"]["images"]) // 1000
        if trained > limit:
            raise ValueError(f"its networks were trained for {trained} kimg, and the trial stands at {self.kimg}")
        self.loop.adopt(state["loop"])

    def _go_on_mutated(self, mutations: list[Mutation]) -> None:
        self.mutations = mutations
        self.config = GanConfig.from_params(mutated(self.first_config.to_params(), mutations))
        self.loop.reconfigure(self.config)

    def _hopeless(self) -> dict[str, Any]:
        reason = hopeless(self.results, self.context.max_kimg, self.context.end_hopeless)
        return {"failure": reason, "done": True} if reason else {}

    def _evaluate(self, figures: dict[str, float], samples: int) -> dict[str, Any]:
        trained = self._clock()
        self._settle()
        scores = self._score(samples)
        done = self.kimg >= self.context.max_kimg
        first = "translation" if self.config.translates else "noise"
        pictures = [self._save_panel(first, f"samples/kimg-{self.kimg:06d}.png")]
        if done and self.config.conditional:
            names = (first,) if self.config.translates else panel_names(self.context.images.vocabulary)
            pictures += [self._save_panel(name, f"panels/{name}.png") for name in names]
        if done and scores.tags:
            pictures.append("panels/confusion.png")
            with self.storage.writing(pictures[-1]) as path:
                draw_confusions(scores.tags, path)
            pictures.append("panels/confusion.json")
            with self.storage.writing(pictures[-1]) as path:
                write_json(path, scores.tags.confusions())
        latency = self._latency_ms()
        self._count_seconds()
        return {
            "kimg": self.kimg,
            "seconds": self.seconds,
            "done": done,
            "pictures": pictures,
            **figures,
            **scores.metrics(),
            **self.parameters,
            "generator_latency_ms": latency,
            "train_seconds": max(0.0, trained - self._stepped),
            "score_seconds": self._since(trained),
            **self._mutation_figures(),
            **system_metrics(self.context.device),
        }

    def _score(self, samples: int) -> Scores:
        scorer, device = self.context.scorer, self.context.device
        if self.config.translates:
            return scorer.score_translation(self.translate, device, samples=samples)
        return scorer.score(
            self.draw, self.config.generator.noise_dim, device, conditional=self.config.conditional, samples=samples
        )

    def _latency_ms(self) -> float:
        context, run = self.context, self.translate if self.config.translates else self.draw
        inputs = settling_inputs(self.config, context.images, context.scorer.seed + 1, context.device)()
        return latency_ms(run, inputs, context.device, self._clock)

    def _mutation_figures(self) -> dict[str, Any]:
        names = dict.fromkeys(name for mutation in self.mutations for name in mutation["params"])
        values = self.config.to_params()
        return {MUTATIONS: len(self.mutations), **{f"mutated/{n}": values[n] for n in names}} if self.mutations else {}

    def _out_of_time(self, reason: str) -> dict[str, Any]:
        """The last result again, which counts at its own kimg; without one the trial has failed."""
        spent = {"train_seconds": self._since(self._stepped), "score_seconds": 0.0}
        if not self.results:
            return {"kimg": self.kimg, "seconds": self.seconds, **spent, "failure": reason, "done": True}
        return {**self.results[-1], **spent, "stopped": reason, "done": True}

    def save(self) -> None:
        """Store the whole state of training."""
        self.checkpoints.save(
            {
                "loop": self.loop.state_dict(),
                "kimg": self.kimg,
                "seconds": self.seconds,
                "results": self.results,
                MUTATIONS: self.mutations,
            }
        )
        self._saved = self._process()

    def load(self) -> bool:
        """Continue from the last good checkpoint; False when there is none. Damaged ones become the ``notice``.

        Raises:
            UserError: a storage that does not answer.
        """
        self.storage.discard_partials()
        restored = self.checkpoints.restore(self._take, self._begin)
        if restored.problem:
            then = f"the trial goes on from {self.loop.images / 1000:.1f} kimg" if restored.found else "it begins anew"
            self.notice = f"{restored.problem}: {then}"
        if self.mutations:
            self._write_config()
        if read_results(self.storage) != self.results:
            write_results(self.storage, self.results)
        return restored.found

    def _take(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.kimg, self.seconds, self.results = int(state["kimg"]), float(state["seconds"]), list(state["results"])
        if state.get(MUTATIONS):
            self._go_on_mutated(list(state[MUTATIONS]))

    def save_if_due(self) -> None:
        """Store the state of training where the last time is long enough ago."""
        # A clock that was set back would keep the next save away for as long as it was set back.
        if not 0 <= self._process() - self._saved < self.context.checkpoint_seconds:
            self._count_seconds()
            began = self._clock()
            self.save()
            self._stepped += self._since(began)  # which was no training

    def _since(self, moment: float) -> float:
        return max(0.0, self._clock() - moment)

    def _count_seconds(self) -> None:
        now = self._clock()
        self.seconds += max(0.0, now - self._counted)
        self._counted = now

    def _settle(self) -> None:
        """Fit the batch-norm statistics of the averaged generator to its weights, on inputs of their own seed."""
        context, run = self.context, self.translate if self.config.translates else self.draw
        give = settling_inputs(self.config, context.images, context.scorer.seed + 1, context.device)
        settle_batch_norm(self.loop.average, lambda: run(*give()))

    def _save_panel(self, name: str, path: str) -> str:
        """Draw a panel, with noise or of pictures that are the same in every trial of the sweep."""
        images, seed, device = self.context.images, self.context.scorer.seed + 2, self.context.device
        if name == "translation":
            sheet = draw_translations(self.config, images, self.translate, seed=seed, device=device)
        else:
            sheet = draw_sheet(
                name, images, self.draw, noise_dim=self.config.generator.noise_dim,
                seed=seed, device=device, conditional=self.config.conditional,
            )  # fmt: skip
        with self.storage.writing(path) as file:
            sheet.save(file, format="PNG")
        return path

    def _save_weights(self, *names: str) -> None:
        state = {name: value.contiguous() for name, value in self.loop.average.state_dict().items()}
        content = save(state, {"kimg": str(self.kimg)})
        for name in names:
            with self.storage.writing(name) as path:
                path.write_bytes(content)
