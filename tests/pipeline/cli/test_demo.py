"""The demo: what its winner draws, measured by the pixels and by the tag classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from optuna.trial import TrialState

from pipeline.bundle.bundle import Bundle
from pipeline.cli.demo import demo_settings
from pipeline.home import Home
from search_spaces.lightgan import LIGHTGAN
from tests.support.colours import measure_colours
from tests.support.pipeline.command_line import run_cli
from tests.support.pipeline.sweep import Swept
from trainables.config import GanConfig
from trainables.scoring.tag_classifier.classifier import TagClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PICTURES = 600


def test_its_settings_describe_a_space(tmp_path: Path) -> None:
    space = demo_settings(tmp_path, Home.find(tmp_path), "demo-1").resolve_space()
    assert space.recipe["image_size"] == 32
    assert space.recipe["system"] == "acgan"
    found = {**space.recipe, "system": "lightgan"}
    light = GanConfig.from_params({
        **LIGHTGAN.recipe, "image_size": 32, "losses.tag_weight": 2.0, "losses.penalty_weight": 2.0,
        "optimizer.generator_lr": 1e-3, "optimizer.discriminator_lr": 1e-3, "training.diff_augment": False,
    })  # fmt: skip
    assert GanConfig.from_params(space.settled(found)) == light


def agreement(seen: NDArray[np.int64], asked: NDArray[np.int64]) -> list[float]:
    """Share of images with the asked hair, and with the asked eyes."""
    return [float(share) for share in (seen == asked).mean(axis=0)]


@pytest.mark.real_processes
@pytest.mark.slow
@pytest.mark.timeout(3600)  # minutes on two free cores, more on loaded ones
def test_the_winner_draws_the_tags_that_are_asked_for(tmp_path: Path) -> None:
    done = run_cli(["demo", "--home", str(tmp_path / "home")], tmp_path, timeout=3500)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    home = Home.find(tmp_path / "home")
    export = home.root / "exports" / "demo-1"
    assert str(export) in done.stdout
    assert export.with_suffix(".png").is_file()
    bundle = Bundle.load(export)
    swept = Swept(demo_settings(home.root / "demo-faces", home, "demo-1"), "", "")
    assert len(swept.runs()) == 3
    assert TrialState.RUNNING not in {trial.state for trial in swept.trials()}

    random = np.random.default_rng(0)
    asked = bundle.combinations[random.choice(len(bundle.counts), size=PICTURES, p=bundle.counts / bundle.counts.sum())]
    pixels = bundle.draw(asked, seed=1)
    assert pixels.shape == (PICTURES, 32, 32, 3)
    (file,) = home.cache.glob("judge-*.safetensors")
    shown = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    by_pixels, by_tag_classifier = measure_colours(pixels), TagClassifier.load(file).predict(shown).numpy()
    shuffled = random.permutation(asked)
    for seen in (by_pixels, by_tag_classifier):
        hair, eyes = agreement(seen, asked)
        assert hair >= 0.97
        assert eyes >= 0.85
        assert max(agreement(seen, shuffled)) < 0.20
