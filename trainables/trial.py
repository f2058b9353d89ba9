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

from trainables.checkpoint import BEST_FILE, CONFIG_FILE, WEIGHTS_FILE, Checkpoints, read_results, write_results
from trainables.config import GanConfig
from trainables.data.tags import combinations
from trainables.files import write_json
from trainables.hopeless import RULES, hopeless
from trainables.loop import Diverged, OutOfTime, TrainingData, TrainingLoop
from trainables.networks.blocks import count_parameters, settle_batch_norm
from trainables.panels import make_panel, panel_names
from trainables.pictures import as_tensor, grid, to_uint8
from trainables.scoring.tag_report import draw_confusions
from trainables.systems.conditional import ConditionalGan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer
    from trainables.storage import Storage

PANEL_BATCH = 64


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
    """Within an interval, the state is saved as often as this; it is saved at every evaluation besides."""
    gpu_share: float = 1.0
    """Of the GPU's memory: a process that asks for more runs out of memory, and not its neighbours."""
    max_seconds: float | None = None
    """A trial that has taken longer is stopped."""
    end_hopeless: tuple[str, ...] = tuple(RULES)
    """Rules of ``trainables.hopeless`` by which a trial fails."""

    @property
    def max_kimg(self) -> int:
        """The budget of a trial."""
        return self.evaluations[-1].kimg


class Trial:
    """Trains one configuration, one evaluation interval per ``step``.

    Args:
        context: data, scorer and budget.
        params: flat dotted parameters of the configuration.
        seed: seeds initial weights, batches and noise; equal seeds give equal weights on a CPU.
        storage: where weights, pictures, results and checkpoints go.
        clock: seconds from any start.
    """

    def __init__(
        self,
        context: TrialContext,
        params: Mapping[str, Any],
        seed: int,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        torch.set_num_threads(context.threads)
        threadpool_limits(context.threads)  # NumPy's, or the scores of concurrent trials would fight for the cores
        if context.device.startswith("cuda") and 0 < context.gpu_share < 1:
            torch.cuda.set_per_process_memory_fraction(context.gpu_share)
        self.context, self.seed, self.storage, self._clock = context, seed, storage, clock
        self.config = GanConfig.from_params({**params, "image_size": context.images.size})
        pairs = combinations(context.images.labels[: context.images.complete])
        self.pairs = pairs if self.config.tags.encoding == "pairs" else ()
        self.checkpoints = Checkpoints(storage)
        self.notice = ""
        """What the next result tells the user."""
        self._begin()
        psutil.cpu_percent()  # measures from one call to the next: the first one only starts it
        with storage.writing(CONFIG_FILE) as path:
            write_json(path, {"params": self.config.to_params(), "seed": seed, "pairs": self.pairs})

    def _begin(self) -> None:
        """Untrained networks, and nothing scored."""
        torch.manual_seed(self.seed)
        context = self.context
        system = ConditionalGan(self.config, context.images.vocabulary.sizes, self.pairs)
        self.parameters = {
            "generator_parameters": count_parameters(system.generator),
            "discriminator_parameters": count_parameters(system.discriminator),
        }
        self.loop = TrainingLoop(system, _training_data(context, self.config), self.config, context.max_kimg * 1000)
        self.kimg, self.seconds = 0, 0.0
        self.results: list[dict[str, Any]] = []
        self._counted = self._saved = self._clock()

    @torch.no_grad()
    def draw(self, noise: Tensor, tags: Tensor) -> Tensor:
        """Pictures ``(n, 3, s, s)`` in [-1, 1] from the averaged generator."""
        pictures: Tensor = self.loop.average.picture(noise, tags)
        return pictures

    def step(self) -> dict[str, Any]:
        """Train for one interval, score, draw samples, save.

        Returns:
            ``kimg``, ``seconds``, ``done``, every score and figure; ``pictures`` (names in the storage);
            on divergence, or where there is no hope, ``failure`` with the reason and ``done``; ``notice``, when the
            user should know something. A trial that has used its budget, or its hope, gives its last result again.
        """
        said = {"notice": self.notice} if self.notice else {}
        self.notice = ""
        if self.results and (self.kimg >= self.context.max_kimg or self._hopeless()):
            return {**self.results[-1], **self._hopeless(), **said}
        self._counted = self._clock()
        evaluation = next(one for one in self.context.evaluations if one.kimg > self.kimg)
        limit = math.inf if self.context.max_seconds is None else self.context.max_seconds
        try:
            figures = self.loop.train_until(evaluation.kimg * 1000, limit - self.seconds, self._save_if_due)
        except Diverged as reason:
            self._count_seconds()
            return {"kimg": self.kimg, "seconds": self.seconds, "failure": f"diverged: {reason}", "done": True, **said}
        except OutOfTime as reason:
            self._count_seconds()
            return {**self._out_of_time(f"out of time: took more than {limit:g} s, {reason}"), **said}
        self.kimg = evaluation.kimg
        # What a process does at its first score alone (building networks, say) must not reach the training.
        with torch.random.fork_rng([self.context.device] if self.context.device.startswith("cuda") else []):
            result = self._evaluate(figures, evaluation.samples)
        # A distance of more samples never competes with one of fewer.
        alike = [earlier for earlier in self.results if earlier["samples"] == result["samples"]]
        best = all(result["distance"] < earlier["distance"] for earlier in alike)
        self._save_weights(WEIGHTS_FILE, *([BEST_FILE] if best else []))
        # In this order: wherever the process dies, the journal has every result that a checkpoint has.
        self.results.append(result)
        write_results(self.storage, self.results)
        self.save()
        return {**result, **self._hopeless(), **said}

    def _hopeless(self) -> dict[str, Any]:
        reason = hopeless(self.results, self.context.max_kimg, self.context.end_hopeless)
        return {"failure": reason, "done": True} if reason else {}

    def _evaluate(self, figures: dict[str, float], samples: int) -> dict[str, Any]:
        trained = self._clock()
        self._settle()
        scores = self.context.scorer.score(
            self.draw, self.config.generator.noise_dim, self.context.device,
            conditional=self.config.conditional, samples=samples,
        )  # fmt: skip
        done = self.kimg >= self.context.max_kimg
        pictures = [self._save_panel("noise", f"samples/kimg-{self.kimg:06d}.png")]
        if done and self.config.conditional:
            names = panel_names(self.context.images.vocabulary)
            pictures += [self._save_panel(name, f"panels/{name}.png") for name in names]
        if done and scores.tags:
            pictures.append("panels/confusion.png")
            with self.storage.writing(pictures[-1]) as path:
                draw_confusions(scores.tags, path)
            pictures.append("panels/confusion.json")
            with self.storage.writing(pictures[-1]) as path:
                write_json(path, scores.tags.confusions())
        self._count_seconds()
        return {
            "kimg": self.kimg,
            "seconds": self.seconds,
            "done": done,
            "pictures": pictures,
            **figures,
            **scores.metrics(),
            **self.parameters,
            "score_seconds": max(0.0, self._clock() - trained),
            **_system_metrics(self.context.device),
        }

    def _out_of_time(self, reason: str) -> dict[str, Any]:
        """The last result again, which counts at its own kimg; without one the trial has failed."""
        if not self.results:
            return {"kimg": self.kimg, "seconds": self.seconds, "failure": reason, "done": True}
        return {**self.results[-1], "stopped": reason, "done": True}

    def save(self) -> None:
        """Store the whole state of training."""
        self.checkpoints.save(
            {"loop": self.loop.state_dict(), "kimg": self.kimg, "seconds": self.seconds, "results": self.results}
        )
        self._saved = self._clock()

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
        if read_results(self.storage) != self.results:
            write_results(self.storage, self.results)
        return restored.found

    def _take(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state["loop"])
        self.kimg, self.seconds, self.results = int(state["kimg"]), float(state["seconds"]), list(state["results"])

    def _save_if_due(self) -> None:
        # A clock that was set back would keep the next save away for as long as it was set back.
        if not 0 <= self._clock() - self._saved < self.context.checkpoint_seconds:
            self._count_seconds()
            self.save()

    def _count_seconds(self) -> None:
        now = self._clock()
        self.seconds += max(0.0, now - self._counted)
        self._counted = now

    def _settle(self) -> None:
        """Fit the batch-norm statistics of the averaged generator to its weights, on codes of their own seed."""
        random = torch.Generator().manual_seed(self.context.scorer.seed + 1)
        tags = as_tensor(self.context.images.labels[: self.context.images.complete])

        def draw() -> Tensor:
            noise = torch.randn(64, self.config.generator.noise_dim, generator=random)
            chosen = tags[torch.randint(len(tags), (64,), generator=random)]
            return self.draw(noise.to(self.context.device), chosen.to(self.context.device))

        settle_batch_norm(self.loop.average, draw)

    def _save_panel(self, name: str, path: str) -> str:
        """Draw a panel, with noise that is the same in every trial of the sweep."""
        images = self.context.images
        panel = make_panel(name, images.vocabulary, images.labels[: images.complete])
        random = torch.Generator().manual_seed(self.context.scorer.seed + 2)
        # One row at a time: what torch draws depends on how much is asked for, and panels share their noises.
        count, size = int(panel.noises.max()) + 1, self.config.generator.noise_dim
        noise = torch.stack([torch.randn(size, generator=random) for _ in range(count)])
        tags = as_tensor(panel.labels).to(self.context.device)
        pictures = torch.cat(
            [
                self.draw(noise[chosen].to(self.context.device), part)
                for chosen, part in zip(
                    torch.split(as_tensor(panel.noises), PANEL_BATCH), torch.split(tags, PANEL_BATCH), strict=True
                )
            ]
        )
        pixels = to_uint8(pictures).permute(0, 2, 3, 1).cpu().numpy()
        rows = panel.rows if self.config.conditional else ()
        sheet = grid(pixels, panel.columns, rows, scale=max(1, 64 // pixels.shape[1]))
        with self.storage.writing(path) as file:
            sheet.save(file, format="PNG")
        return path

    def _save_weights(self, *names: str) -> None:
        state = {name: value.contiguous() for name, value in self.loop.average.state_dict().items()}
        content = save(state, {"kimg": str(self.kimg)})
        for name in names:
            with self.storage.writing(name) as path:
                path.write_bytes(content)


def _training_data(context: TrialContext, config: GanConfig) -> TrainingData:
    images = context.images
    count = len(images.pixels) if config.training.extra_data else images.complete
    pictures = as_tensor(images.pixels[:count])
    labels = as_tensor(images.labels[:count])
    return TrainingData(
        pictures.to(context.device),
        labels.to(context.device),
        as_tensor(images.labels[: images.complete]).to(context.device),
    )


def _system_metrics(device: str) -> dict[str, float]:
    process = psutil.Process()
    metrics = {
        "system/process_memory_megabytes": process.memory_info().rss / 2**20,
        "system/process_cpu_seconds": sum(process.cpu_times()[:2]),
        "system/system_memory_usage_percentage": psutil.virtual_memory().percent,
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
    }
    if device.startswith("cuda"):
        metrics["system/gpu_peak_memory_megabytes"] = torch.cuda.max_memory_allocated() / 2**20
    return metrics
