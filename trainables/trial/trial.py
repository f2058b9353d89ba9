"""One trial: a configuration trained and scored in intervals. Plain Python: no Ray, no MLflow, no Optuna."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch
from safetensors.torch import save
from threadpoolctl import threadpool_limits

from trainables.config import GanConfig
from trainables.errors import UserError
from trainables.networks.blocks import count_parameters
from trainables.storage.atomic import write_json
from trainables.storage.checkpoints import (
    BEST_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Checkpoints,
    Restored,
    read_results,
    write_results,
)
from trainables.systems.build import build_system
from trainables.training.flops import flops_per_image
from trainables.training.inputs import training_data
from trainables.training.loop import Diverged, OutOfTime, TrainingLoop
from trainables.trial.evaluator import Evaluator
from trainables.trial.failure_detection import early_failure
from trainables.trial.image_share import SHARE, find_image_share
from trainables.trial.initial_weights import TagLayout, load_initial
from trainables.trial.pbt_mutations import MUTATIONS, Mutation, mutated, read_mutations
from trainables.trial.system_metrics import system_metrics
from trainables.trial.trial_clock import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainables.storage.storage import Storage
    from trainables.trial.context import Evaluation, TrialContext


@dataclass(frozen=True)
class Interval:
    """Training up to the next evaluation."""

    evaluation: Evaluation
    images: int
    """Real images that the trial has seen at its end."""
    seconds: float
    """Time limit of the training."""
    extra: dict[str, str]
    """Entries to add to the result: a ``notice`` for the user, if there is one."""


Trained = dict[str, float] | Diverged | OutOfTime
"""Outcome of training for an interval: its figures, or the reason for which it ended early."""


class Trial:
    """Trains one configuration, one evaluation interval per ``step``.

    Args:
        context: data, scorer and budget.
        params: flat dotted parameters of the configuration.
        seed: seeds initial weights, batches and noise; equal seeds give equal weights on a CPU.
        storage: receives weights, images, results and checkpoints.
        clock: seconds from any start.
        others: holds the folders of the sweep's trials by key; population-based training copies networks from there.
        image_share: images that the trial sees for each one of its budget; default: by ``find_image_share``.
    """

    def __init__(
        self,
        context: TrialContext,
        params: Mapping[str, Any],
        seed: int,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
        others: Storage | None = None,
        image_share: float | None = None,
    ) -> None:
        torch.set_num_threads(context.threads)
        threadpool_limits(context.threads)  # NumPy's threads: scores of concurrent trials would compete for the cores
        if context.device.startswith("cuda") and 0 < context.gpu_share < 1:
            torch.cuda.set_per_process_memory_fraction(context.gpu_share)
        self.context, self.seed, self.storage, self._clock = context, seed, storage, clock
        self._process = clock.process if isinstance(clock, Stopwatch) else clock
        """Clock of the process: unsaved work also ages while other trials are trained."""
        self.others = others
        self.first_config = GanConfig.from_params({**params, **context.images.shape_params})
        self.config = self.first_config
        """The current configuration; mutations change it."""
        self.pairs = context.images.pairs(self.config.tags.encoding)
        self.checkpoints = Checkpoints(storage)
        vocabulary, targets = context.images.vocabulary, context.images.target_places
        self.flops = flops_per_image(self.config, vocabulary.sizes, targets, self.pairs)
        share = find_image_share(context, self.config, self.flops, storage) if image_share is None else image_share
        self.image_share = share
        """Real images that the trial sees for each image of the budget."""
        self.notice = ""
        """Message for the user, sent with the next result."""
        self._begin()
        psutil.cpu_percent()  # measures since the previous call: the first call only starts the measurement
        self._write_config()

    def _write_config(self) -> None:
        about = {
            "params": self.first_config.to_params(),
            "seed": self.seed,
            "pairs": self.pairs,
            "precision": self.context.precision,
        }
        if self.context.initial is not None:
            about["init_from"] = self.context.initial.source
        if self.context.timed_recipe is not None:
            about[SHARE] = self.image_share
        with self.storage.writing(CONFIG_FILE) as path:
            write_json(path, {**about, **({MUTATIONS: self.mutations} if self.mutations else {})})

    def _begin(self) -> None:
        """Reset to untrained networks and no results."""
        self.config, self.mutations = self.first_config, list[Mutation]()
        torch.manual_seed(self.seed)
        context = self.context
        images = context.images
        system = build_system(self.config, images.vocabulary.sizes, images.target_places, self.pairs, context.precision)
        if context.initial is not None:
            load_initial(system, TagLayout(images.vocabulary, self.pairs, images.target_places), context.initial)
        self.parameters = {
            "generator_parameters": count_parameters(system.generator),
            "discriminator_parameters": count_parameters(system.discriminator),
            "flops_per_image": self.flops,
        }
        self.loop = TrainingLoop(
            system,
            training_data(self.config, images, context.device, context.pixels),
            self.config,
            self._images(context.max_kimg),
        )
        self.cost, self.seconds = 0, 0.0
        self.results: list[dict[str, Any]] = []
        self._stepped = self._counted = self._clock()
        self._saved = self._process()

    @property
    def kimg(self) -> float:
        """Thousands of real images up to the last evaluation."""
        return self.cost if self.context.counts_images else self._images(self.cost) / 1000

    def _images(self, cost: int) -> int:
        """Return the real images that ``cost`` kimg of the budget pay for."""
        return max(1, round(1000 * cost * self.image_share)) if cost else 0

    def _progress(self) -> dict[str, float]:
        cost = {} if self.context.counts_images else {"cost_kimg": self.cost}
        return {"kimg": self.kimg, **cost, "seconds": self.seconds}

    @property
    def evaluator(self) -> Evaluator:
        """Evaluator of the averaged generator."""
        return Evaluator(self.context, self.config, self.loop.average, self.storage)

    def step(self) -> dict[str, Any]:
        """Train for one interval, score, draw samples and save.

        Returns:
            ``kimg``, ``seconds``, ``done``, every score and figure; ``pictures`` (names of images in the storage); if
            budgets are no images, ``cost_kimg``: what is used of it, in kimg of the recipe; on divergence or early
            failure ``failure`` with the reason, and ``done``; ``notice`` if there is a message for the user. A trial
            that has used its budget or has failed early returns its last result again.
        """
        interval = self.begin_interval()
        if isinstance(interval, dict):
            return interval
        trained: Trained
        try:
            trained = self.loop.train_until(interval.images, interval.seconds, self.save_if_due)
        except (Diverged, OutOfTime) as reason:
            trained = reason
        return self.end_interval(interval, trained)

    def begin_interval(self) -> Interval | dict[str, Any]:
        """Return the next interval to train, or the last result if the trial has ended."""
        if self.others is not None and self.cost < self.context.max_kimg:
            self._mutate(self.others)
        extra = {"notice": self.notice} if self.notice else {}
        self.notice = ""
        if self.results and (self.cost >= self.context.max_kimg or self._early_failure()):
            return {**self.results[-1], "train_seconds": 0.0, "score_seconds": 0.0, **self._early_failure(), **extra}
        self._stepped = self._counted = self._clock()
        limit = math.inf if self.context.max_seconds is None else self.context.max_seconds
        evaluation = self._next_evaluation()
        return Interval(evaluation, self._images(evaluation.kimg), limit - self.seconds, extra)

    def _next_evaluation(self) -> Evaluation:
        return next(evaluation for evaluation in self.context.evaluations if evaluation.kimg > self.cost)

    def end_interval(self, interval: Interval, trained: Trained) -> dict[str, Any]:
        """Score, draw samples and save after an interval, or return why its training ended early."""
        evaluation, extra = interval.evaluation, interval.extra
        if isinstance(trained, Diverged):
            self._count_seconds()
            spent = {**self._progress(), "train_seconds": self._since(self._stepped)}
            return {**spent, "failure": f"diverged: {trained}", "done": True, **extra}
        if isinstance(trained, OutOfTime):
            self._count_seconds()
            reason = f"out of time: took more than {self.context.max_seconds:g} s, {trained}"
            return {**self._out_of_time(reason), **extra}
        if callable(self.context.scoring):
            self._await_scorer()
        self.cost = evaluation.kimg
        # Scoring must not change the random state of training: a process's first score also builds networks.
        with torch.random.fork_rng([self.context.device] if self.context.device.startswith("cuda") else []):
            result = self._evaluate(trained, evaluation.samples)
        # Distances are compared only at equal sample counts.
        comparable = [earlier for earlier in self.results if earlier["samples"] == result["samples"]]
        best = all(result["distance"] < earlier["distance"] for earlier in comparable)
        self._save_weights(WEIGHTS_FILE, *([BEST_FILE] if best else []))
        # Write results before the checkpoint: wherever the process dies, they include those of every checkpoint.
        self.results.append(result)
        write_results(self.storage, self.results)
        self.save()
        return {**result, **self._early_failure(), **extra}

    def _await_scorer(self) -> None:
        """Wait for a scorer that is prepared beside the first trials; the wait is no part of the trial's time."""
        began = self._clock()
        _ = self.context.scorer
        waited = self._since(began)
        self._stepped += waited
        self._counted += waited

    def _mutate(self, others: Storage) -> None:
        """Apply a mutation ordered after the last result (population-based training)."""
        orders = [order for order in read_mutations(self.storage) if order["kimg"] == self.cost]
        if not orders or orders[-1] in self.mutations:
            return
        source = orders[-1]["source"]
        try:
            adopted = Checkpoints(others.below(source)).restore(self._adopt, lambda: None)
        except UserError as error:  # the other trial deletes a checkpoint when it saves a newer one
            adopted = Restored(False, str(error))
        if not adopted.found:
            self.notice = f"keeps its networks, for those of {source} cannot be taken over: {adopted.problem or 'none'}"
            return
        self._go_on_mutated([*self.mutations, orders[-1]])
        self._write_config()
        self.save()

    def _adopt(self, state: dict[str, Any]) -> None:
        # If trials wait for slots, the source may have started earlier and be far ahead: the copy would have trained
        # for longer than its ``kimg``.
        limit = self._next_evaluation().kimg
        trained = int(state["loop"]["images"]) // 1000
        if trained > limit:
            raise ValueError(f"its networks were trained for {trained} kimg, and the trial stands at {self.cost}")
        self.loop.adopt(state["loop"])

    def _go_on_mutated(self, mutations: list[Mutation]) -> None:
        self.mutations = mutations
        self.config = GanConfig.from_params(mutated(self.first_config.to_params(), mutations))
        self.loop.reconfigure(self.config)

    def _early_failure(self) -> dict[str, Any]:
        reason = early_failure(self.results, self._images(self.context.max_kimg) / 1000, self.context.failure_rules)
        return {"failure": reason, "done": True} if reason else {}

    def _evaluate(self, figures: dict[str, float], samples: int) -> dict[str, Any]:
        trained = self._clock()
        evaluator = self.evaluator
        evaluator.recalibrate()
        scores = evaluator.score(samples)
        done = self.cost >= self.context.max_kimg
        images = evaluator.write_images(self.cost, scores.tags, done=done)
        latency = evaluator.latency_ms(self._clock)
        self._count_seconds()
        return {
            **self._progress(),
            "done": done,
            "pictures": images,
            **figures,
            **scores.metrics(),
            **self.parameters,
            "generator_latency_ms": latency,
            "train_seconds": max(0.0, trained - self._stepped),
            "score_seconds": self._since(trained),
            **self._mutation_figures(),
            **system_metrics(self.context.device),
        }

    def _mutation_figures(self) -> dict[str, Any]:
        names = dict.fromkeys(name for mutation in self.mutations for name in mutation["params"])
        values = self.config.to_params()
        return {MUTATIONS: len(self.mutations), **{f"mutated/{n}": values[n] for n in names}} if self.mutations else {}

    def _out_of_time(self, reason: str) -> dict[str, Any]:
        """Return the last result again, at its own kimg; without one, the trial has failed."""
        spent = {"train_seconds": self._since(self._stepped), "score_seconds": 0.0}
        if not self.results:
            return {**self._progress(), **spent, "failure": reason, "done": True}
        return {**self.results[-1], **spent, "stopped": reason, "done": True}

    def save(self) -> None:
        """Save the complete state of training as a checkpoint."""
        self.checkpoints.save(
            {
                "loop": self.loop.state_dict(),
                "kimg": self.kimg,
                "cost": self.cost,
                "seconds": self.seconds,
                "results": self.results,
                MUTATIONS: self.mutations,
            }
        )
        self._saved = self._process()

    def load(self) -> bool:
        """Continue from the last good checkpoint, and describe damaged ones in ``notice``.

        Returns:
            Whether a checkpoint was loaded.

        Raises:
            UserError: the storage does not answer.
        """
        self.storage.discard_partials()
        restored = self.checkpoints.restore(self._take, self._begin)
        if restored.problem:
            then = (
                f"the trial goes on from {self.loop.images_seen / 1000:.1f} kimg"
                if restored.found
                else "it begins anew"
            )
            self.notice = f"{restored.problem}: {then}"
        if self.mutations:
            self._write_config()
        if read_results(self.storage) != self.results:
            write_results(self.storage, self.results)
        return restored.found

    def _take(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.cost, self.seconds = int(state.get("cost", state["kimg"])), float(state["seconds"])
        self.results = list(state["results"])
        if state.get(MUTATIONS):
            self._go_on_mutated(list(state[MUTATIONS]))

    def save_if_due(self) -> None:
        """Save the state of training if the last save is at least ``checkpoint_seconds`` ago."""
        # A negative age means that the clock was set back: without this check, no save would follow for that long.
        if not 0 <= self._process() - self._saved < self.context.checkpoint_seconds:
            self._count_seconds()
            began = self._clock()
            self.save()
            self._stepped += self._since(began)  # saving does not count as training

    def _since(self, moment: float) -> float:
        return max(0.0, self._clock() - moment)

    def _count_seconds(self) -> None:
        now = self._clock()
        self.seconds += max(0.0, now - self._counted)
        self._counted = now

    def _save_weights(self, *names: str) -> None:
        state = {name: value.contiguous() for name, value in self.loop.average.state_dict().items()}
        content = save(state, {"kimg": str(self.kimg)})
        for name in names:
            with self.storage.writing(name) as path:
                path.write_bytes(content)
