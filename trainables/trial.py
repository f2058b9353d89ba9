"""One trial: a configuration trained and scored in intervals. Plain Python: no Ray, no MLflow, no Optuna."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import torch
from safetensors.torch import save_file

from trainables.config import GanConfig
from trainables.data.tags import combinations
from trainables.errors import UserError, first_line
from trainables.files import whole_file, write_json
from trainables.loop import Diverged, TrainingData, TrainingLoop
from trainables.networks.blocks import count_parameters, settle_batch_norm
from trainables.panels import make_panel, panel_names
from trainables.pictures import as_tensor, grid, save_png, to_uint8
from trainables.systems.conditional import ConditionalGan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.scorer import Scorer

WEIGHTS_FILE = "generator.safetensors"
CONFIG_FILE = "config.json"
CHECKPOINT_FILE = "checkpoint.pt"
PANEL_BATCH = 64
RESULTS_FILE = "results.jsonl"
"""Every result of a trial, written before its checkpoint: the driver may die before it has logged one."""


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a sweep share; sent to each node once."""

    images: TaggedImages
    scorer: Scorer
    max_kimg: int
    eval_kimg: int
    threads: int = 1
    device: str = "cpu"


class Trial:
    """Trains one configuration, one evaluation interval per ``step``.

    Args:
        context: data, scorer and budget.
        params: flat dotted parameters of the configuration.
        seed: seeds initial weights, batches and noise; equal seeds give equal weights on a CPU.
        folder: where weights, pictures and the checkpoint go.
    """

    def __init__(self, context: TrialContext, params: Mapping[str, Any], seed: int, folder: Path) -> None:
        torch.set_num_threads(context.threads)
        torch.manual_seed(seed)
        self.context, self.folder = context, folder
        self.config = GanConfig.from_params({**params, "image_size": context.images.size})
        pairs = combinations(context.images.labels[: context.images.complete])
        self.pairs = pairs if self.config.tags.encoding == "pairs" else ()
        system = ConditionalGan(self.config, context.images.vocabulary.sizes, self.pairs)
        self.parameters = {
            "generator_parameters": count_parameters(system.generator),
            "discriminator_parameters": count_parameters(system.discriminator),
        }
        self.loop = TrainingLoop(system, _training_data(context, self.config), self.config, context.max_kimg * 1000)
        self.seconds = 0.0
        self.kimg = 0
        psutil.cpu_percent()  # measures from one call to the next: the first one only starts it
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_FILE, {"params": self.config.to_params(), "seed": seed, "pairs": self.pairs})

    @torch.no_grad()
    def draw(self, noise: Tensor, tags: Tensor) -> Tensor:
        """Pictures ``(n, 3, s, s)`` in [-1, 1] from the averaged generator."""
        pictures: Tensor = self.loop.average.picture(noise, tags)
        return pictures

    def step(self) -> dict[str, Any]:
        """Train for one interval, score, draw samples, save.

        Returns:
            ``kimg``, ``seconds``, ``done``, every score and figure; ``pictures`` (paths relative to the folder);
            on divergence ``failure`` with the reason and ``done``.
        """
        start = time.perf_counter()
        target = min(self.kimg + self.context.eval_kimg, self.context.max_kimg)
        try:
            figures = self.loop.train_until(target * 1000)
        except Diverged as reason:
            seconds = self.seconds + time.perf_counter() - start
            return {"kimg": self.kimg, "seconds": seconds, "failure": f"diverged: {reason}", "done": True}
        self.kimg = target
        trained = time.perf_counter()
        self._settle()
        scores = self.context.scorer.score(
            self.draw, self.config.generator.noise_dim, self.context.device, conditional=self.config.conditional
        )
        done = self.kimg >= self.context.max_kimg
        pictures = [self._save_panel("noise", f"samples/kimg-{self.kimg:06d}.png")]
        if done and self.config.conditional:
            names = panel_names(self.context.images.vocabulary)
            pictures += [self._save_panel(name, f"panels/{name}.png") for name in names]
        self.seconds += time.perf_counter() - start
        self._save_weights()
        result = {
            "kimg": self.kimg,
            "seconds": self.seconds,
            "done": done,
            "pictures": pictures,
            **figures,
            **scores,
            **self.parameters,
            "score_seconds": time.perf_counter() - trained,
            **_system_metrics(self.context.device),
        }
        with (self.folder / RESULTS_FILE).open("a", encoding="utf-8") as journal:
            # The newline comes first: a line that a dying process cut short must not swallow this one.
            journal.write("\n" + json.dumps(result))
        self.save()
        return result

    def save(self) -> None:
        """Write the whole state of training, atomically."""
        state = {"loop": self.loop.state_dict(), "kimg": self.kimg, "seconds": self.seconds}
        with whole_file(self.folder / CHECKPOINT_FILE) as partial:
            torch.save(state, partial)

    def load(self) -> bool:
        """Continue from the folder's checkpoint; False when there is none.

        Raises:
            UserError: a checkpoint that cannot be read.
        """
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.context.device, weights_only=True)
            self.loop.load_state_dict(state["loop"])
            self.kimg, self.seconds = int(state["kimg"]), float(state["seconds"])
        except Exception as error:
            raise UserError(f"cannot read checkpoint {path}: {first_line(error)}") from error
        return True

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
        save_png(grid(pixels, panel.columns, rows, scale=max(1, 64 // pixels.shape[1])), self.folder / path)
        return path

    def _save_weights(self) -> None:
        state = {name: value.contiguous() for name, value in self.loop.average.state_dict().items()}
        with whole_file(self.folder / WEIGHTS_FILE) as partial:
            save_file(state, partial, {"kimg": str(self.kimg)})


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results that a trial has written so far; a line that was cut short is left out: its interval is run again."""
    path = folder / RESULTS_FILE
    results = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            results.append(json.loads(line))
    return [result for result in results if isinstance(result, dict)]


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
