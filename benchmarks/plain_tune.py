"""A sweep as users of Ray Tune write one, for comparison in ``benchmarks.sweep``.

Every trial of the class Trainable reads the tag file, decodes images with Pillow in a ``DataLoader``, trains in the
style of PyTorch's DCGAN example and scores with torchmetrics' ``FrechetInceptionDistance``. OptunaSearch suggests
configurations, MLflowLoggerCallback logs, and Tune saves a checkpoint at every evaluation. Networks and losses are
gansweep's, so that both sides train the same; the feature network is gansweep's fast one or, with ``--inception``,
torchmetrics' own. In addition, trials record when each of their phases begins.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from ray import tune
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision import transforms

from benchmarks.steps import default_optimizer
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY
from trainables.data.tensors import to_uint8
from trainables.networks.blocks import PointConvTranspose2d
from trainables.scoring.extractors.registry import open_extractor
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCORED_AT_ONCE = 128


@dataclass(frozen=True)
class Plan:
    """Settings of both sides of the comparison."""

    faces: Path
    folder: Path
    """Folder for all files of a run."""
    trials: int
    slots: int
    size: int
    fixed: dict[str, Any]
    """Parameters that do not vary."""
    ranges: dict[str, tuple[float, float]]
    """Ranges of the others, on a logarithmic scale."""
    evaluations: tuple[tuple[int, int], ...]
    """Pairs of kimg and the number of generated images."""
    weights: Path | None = None
    """Weights of torchmetrics' Inception-v3; None for gansweep's fast network."""

    @property
    def marks(self) -> Path:
        """File in which trials record their phases."""
        return self.folder / "marks.jsonl"


def note(marks: Path, trial: str, what: str, **more: float) -> None:
    """Append a line with the machine's monotonic clock, which all processes share."""
    with marks.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"trial": trial, "what": what, "at": time.monotonic(), **more}) + "\n")


class Faces(Dataset[tuple[Tensor, Tensor]]):
    """Tagged images of a folder, decoded on access."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder / "faces"
        with (folder / "tags.csv").open(encoding="utf-8", newline="") as file:
            self.rows = [(name, torch.tensor(REPORT_VOCABULARY.parse(text))) for name, text in csv.reader(file)]
        self.transform = transforms.Compose([
            transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        name, labels = self.rows[place]
        with Image.open(self.folder / f"{name}.png") as image:
            return self.transform(image.convert("RGB")), labels


class Features(nn.Module):
    """The feature network, with torchmetrics' interface."""

    num_features = 1280

    def forward(self, images: Tensor) -> Tensor:
        return open_extractor("efficientnet")(images)


class PlainTrial(tune.Trainable):
    """Trains and scores one configuration."""

    def setup(self, config: dict[str, Any], plan: Plan | None = None) -> None:
        assert plan is not None, "tune.with_parameters gives the plan"
        note(plan.marks, self.trial_id, "setup")
        self.plan = plan
        settings = GanConfig.from_params({**plan.fixed, **config, "image_size": plan.size})
        self.noise_dim, batch = settings.generator.noise_dim, settings.training.batch_size
        self.faces = Faces(plan.faces, plan.size)
        self.loader = DataLoader(self.faces, batch, shuffle=True, drop_last=True)
        self.batches: Iterator[list[Tensor]] = iter(())
        self.system = ConditionalGan(settings, REPORT_VOCABULARY.sizes)
        for network in (self.system.generator, self.system.discriminator):
            for module in network.modules():
                if isinstance(module, PointConvTranspose2d):
                    module.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]
        self.optimizer_d = default_optimizer(settings, self.system.discriminator)
        self.optimizer_g = default_optimizer(settings, self.system.generator)
        self.fid: FrechetInceptionDistance | None = None
        self.images = self.evaluated = 0

    def step(self) -> dict[str, Any]:
        """Train until the next evaluation, then score."""
        kimg, samples = self.plan.evaluations[self.evaluated]
        began, cpu, losses = time.monotonic(), time.process_time(), dict[str, float]()
        self.system.generator.train()
        while self.images < 1000 * kimg:
            images, labels = self.draw()
            if not self.images:
                note(self.plan.marks, self.trial_id, "training")
            losses = self.update(images, labels)
            self.images += len(images)
        trained, trained_cpu = time.monotonic(), time.process_time()
        distance, self.evaluated = self.score(samples), self.evaluated + 1
        done = self.evaluated == len(self.plan.evaluations)
        note(
            self.plan.marks, self.trial_id, "result", samples=samples, distance=distance,
            train=trained - began, score=time.monotonic() - trained,
            train_cpu=trained_cpu - cpu, score_cpu=time.process_time() - trained_cpu,
        )  # fmt: skip
        return {"kimg": kimg, "distance": distance, **losses, "done": done}

    def draw(self) -> list[Tensor]:
        """Return the next batch; start over at the end of the data."""
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        return batch

    def update(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Run one step of each network, and return the losses as numbers."""
        losses: dict[str, float] = {}
        for loss in self.system.discriminator_losses(self.ask(images, labels)):
            self.system.discriminator.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            self.optimizer_d.step()
            losses |= {name: figure.item() for name, figure in loss.figures.items()}
        loss = self.system.generator_loss(self.ask(images, labels))
        self.system.generator.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer_g.step()
        return losses | {name: figure.item() for name, figure in loss.figures.items()}

    def ask(self, images: Tensor, labels: Tensor) -> Batch:
        """Return a batch with new noise and requested tags."""
        noise = torch.randn(len(labels), self.noise_dim)
        return Batch(images, labels, noise, labels[torch.randperm(len(labels))])

    def make_fid(self) -> FrechetInceptionDistance:
        """Return torchmetrics' metric with the plan's network."""
        if self.plan.weights is None:
            return FrechetInceptionDistance(feature=Features(), reset_real_features=False)
        return FrechetInceptionDistance(
            feature_extractor_weights_path=str(self.plan.weights), antialias=False, reset_real_features=False
        )

    @torch.no_grad()
    def score(self, samples: int) -> float:
        """Return the distance to all real images, whose features are computed at the first call."""
        if self.fid is None:
            self.fid = self.make_fid()
            for images, _ in DataLoader(self.faces, SCORED_AT_ONCE):
                self.fid.update(to_uint8(images), real=True)
        self.system.generator.eval()
        tags = torch.stack([labels for _, labels in self.faces.rows])
        for requested in torch.split(tags[torch.randint(len(tags), (samples,))], SCORED_AT_ONCE):
            drawn = self.system.generator(torch.randn(len(requested), self.noise_dim), requested)
            self.fid.update(to_uint8(drawn), real=False)
        distance = float(self.fid.compute())
        self.fid.reset()
        return distance

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        state = {name: getattr(self.system, name).state_dict() for name in ("generator", "discriminator")}
        state |= {name: getattr(self, name).state_dict() for name in ("optimizer_d", "optimizer_g")}
        torch.save({**state, "images": self.images, "evaluated": self.evaluated}, f"{checkpoint_dir}/state.pt")
        note(self.plan.marks, self.trial_id, "saved")


def run(plan: Plan) -> None:
    """Run the script."""
    import ray
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address="local", num_cpus=plan.slots, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(tune.with_parameters(PlainTrial, plan=plan), {"cpu": 1}),
        param_space={name: tune.loguniform(*ends) for name, ends in plan.ranges.items()},
        tune_config=tune.TuneConfig(
            metric="distance", mode="min", search_alg=OptunaSearch(), num_samples=plan.trials,
            max_concurrent_trials=plan.slots,
        ),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(plan.folder / "tune"),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{plan.folder}/mlflow.db", experiment_name="plain")
            ],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=1),
            verbose=0,
        ),
    ).fit()  # fmt: skip
    ray.shutdown()
