"""One tiny sweep on drawn faces, run once for all tests, with a crashing and a diverging trial in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import psutil
import pytest
import torch
from mlflow import MlflowClient
from rich.console import Console
from safetensors.torch import save_file

from analysis import schema
from pipeline.home import Home
from pipeline.launch import run_sweep
from pipeline.manifest import CONFIG, TAGS, WEIGHTS, write_manifest
from pipeline.settings import SweepSettings
from pipeline.web_runtime import user_cache, web_runtime
from tests.conftest import SIZE
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UserError
from trainables.files import write_json
from trainables.networks.generator import Generator

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mlflow.entities import Run

NAME = "tiny"
TRIALS, CONCURRENT = 6, 2
SEED = 3
CRASHES = 2
"""Number of the trial that cannot write its configuration: a folder stands in its place."""
REPOSITORY = Path(__file__).resolve().parents[2]

FIXED = (
    "generator.width=4",
    "discriminator.width=4",
    "generator.noise_dim=8",
    "generator.oversize=false",
    "updates.generator_steps=1",
    "training.batch_size=32",
)


def tiny_settings(home: Path, data: Path, name: str = NAME, **changes: Any) -> SweepSettings:
    """Settings of a sweep that takes seconds."""
    given: dict[str, Any] = {
        "space": "acgan",
        "data": data,
        "name": name,
        "trials": TRIALS,
        "image_size": SIZE,
        "max_kimg": 2,
        "eval_kimg": 1,
        "samples": 32,
        "concurrent": CONCURRENT,
        "gpus_per_trial": "0",
        "end_hopeless": "none",  # such networks are soon beaten
        "fix": FIXED,
        "home": home,
    }
    return SweepSettings(**{**given, **changes})


def command_words(settings: SweepSettings) -> list[str]:
    """The command line that gives these settings."""
    words = ["run", settings.space]
    for name, value in settings.to_json().items():
        option = f"--{name.replace('_', '-')}"
        if name == "space" or value is None or isinstance(value, bool):
            words += [option] if value is True else []
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [option, str(one)]
    return words


def until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait for what is certain to come to pass."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


TRIALS_OF_TUNE = ("ray::ResourceTrainable", "ray::TuneTrial", "ray::ProxyTrial")
"""What Ray calls the processes of trials: by Tune's class while a method runs, by ours between two."""


def is_called(process: psutil.Process, title: str | tuple[str, ...]) -> bool:
    """Whether a process lives and its title, which Ray gives to workers, begins so."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(title)
    except psutil.NoSuchProcess:
        return False


MAIN = "import sys; from pipeline.cli import main; sys.exit(main())"
HELD = """
import sys, time
from pathlib import Path
from pipeline.callback import SweepCallback
from pipeline.cli import main

folder, results, trials = Path(sys.argv.pop(1)), int(sys.argv.pop(1)), int(sys.argv.pop(1))
report, keys = SweepCallback.on_trial_result, []

def held(self, **info):
    report(self, **info)
    keys.append(info["trial"].config["key"])
    if len(keys) >= results and len(set(keys)) >= trials:
        (folder / "reached").touch()
        while not (folder / "go-on").exists():
            time.sleep(0.02)

SweepCallback.on_trial_result = held
sys.exit(main())
"""


@dataclass(frozen=True)
class Hold:
    """Where a driver waits, after its first results, until it may go on: none of its trials can end meanwhile."""

    folder: Path
    results: int = 1
    """So many have come,"""
    trials: int = 1
    """of so many trials."""

    def wait(self, process: subprocess.Popen[str], seconds: float = 900) -> None:
        """Until the driver waits there."""
        end = time.monotonic() + seconds
        while not (self.folder / "reached").exists():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail(f"it has not come so far: {process.communicate()}")
            time.sleep(0.05)

    def go_on(self) -> None:
        """Let the driver go on, to its end."""
        (self.folder / "go-on").touch()


def start_cli(words: list[str], cwd: Path, *, hold: Hold | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m pipeline.cli`` in another process."""
    code = [MAIN] if hold is None else [HELD, str(hold.folder), str(hold.results), str(hold.trials)]
    return subprocess.Popen(
        [sys.executable, "-c", *code, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_cli(words: list[str], cwd: Path, timeout: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m pipeline.cli`` in another process."""
    process = start_cli(words, cwd, **environment)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, and independent ways to look at it."""

    settings: SweepSettings
    status: str
    printed: str

    @property
    def home(self) -> Home:
        return Home.find(self.settings.home)

    @property
    def folder(self) -> Path:
        return self.home.sweep(self.settings.name)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.home.tracking)

    def runs(self, kind: str = schema.KIND_TRIAL) -> list[Run]:
        """Runs of a kind, by number of the trial."""
        experiment = self.client.get_experiment_by_name(self.settings.name)
        found = self.client.search_runs([experiment.experiment_id], max_results=1000)
        found = [run for run in found if run.data.tags[schema.KIND] == kind]
        return sorted(found, key=lambda run: run.data.tags.get(schema.KEY, ""))

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Trials of the study."""
        return optuna.load_study(study_name=self.settings.name, storage=self.home.study).trials


def sweep(settings: SweepSettings) -> Swept:
    """Run a sweep in this process."""
    printed = io.StringIO()
    status = run_sweep(settings, Console(file=printed, width=300, highlight=False))
    return Swept(settings, status, printed.getvalue())


@pytest.fixture(scope="session")
def swept(judged_home: Path, faces: Path, local_ray: None) -> Swept:
    """A sweep in which trial ``CRASHES`` crashes and every trial with ``discriminator_lr`` 1.0 diverges."""
    settings = tiny_settings(
        judged_home,
        faces,
        fix=(*FIXED, "losses.adversarial_weight=1000"),
        choices=("optimizer.discriminator_lr=2e-4,1.0",),
        seed=SEED,
    )
    (Home.find(judged_home).sweep(NAME) / f"{NAME}-{CRASHES:05d}" / "config.json").mkdir(parents=True)
    return sweep(settings)


TINY_PARAMS = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4}
COMBINATIONS = [([8, 9], 6), ([8, 7], 3), ([7, 9], 1)]
"""Labels (hair, eyes) with their counts: blue hair red eyes, blue hair green eyes, pink hair red eyes."""


def write_bundle(folder: Path, **params: Any) -> Path:
    """An export written by hand: an untrained generator and three known tag combinations."""
    config = GanConfig.from_params({**TINY_PARAMS, **params})
    pairs = tuple((hair, eyes) for (hair, eyes), _ in COMBINATIONS) if config.tags.encoding == "pairs" else ()
    torch.manual_seed(0)
    generator = Generator(config, REPORT_VOCABULARY.sizes, pairs)
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"params": config.to_params(), "seed": 1, "pairs": pairs})
    combinations = [{"labels": labels, "count": count} for labels, count in COMBINATIONS]
    tags = {"vocabulary": REPORT_VOCABULARY.to_json(), "hash": REPORT_VOCABULARY.hash, "combinations": combinations}
    write_json(folder / TAGS, tags)
    write_manifest(folder, {"trial": "hand-00000"})
    return folder


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "winner")


@pytest.fixture(scope="session")
def runtime() -> Path:
    """Files of onnxruntime-web."""
    try:
        return web_runtime(user_cache())
    except UserError as error:
        pytest.skip(str(error))
