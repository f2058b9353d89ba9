"""``gansweep simulate`` from the command line on, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

import pipeline.simulate.run as command
from pipeline.cli.main import main
from pipeline.simulate.run import combinations
from search_spaces.registry import find_space
from tests.pipeline.simulate.test_compare import ranked
from tests.support.pipeline.curves import recorded
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of twelve recorded curves, whatever is asked for."""
    monkeypatch.setattr(command, "load", lambda name, **where: name)
    monkeypatch.setattr(command, "recording", lambda sweep: ranked(12))


@pytest.mark.usefixtures("there")
def test_json_and_image(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = tmp_path / "p.png"
    words = ["simulate", "faces", "--workers", "4", "--sampler", "tpe", "--scheduler", "asha", "--trials", "4",
             "--repeats", "2", "--json", "--plot", str(image)]  # fmt: skip
    assert main(words) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["sweep"], told["workers"], told["total_kimg"], told["recorded"]["trials"]) == ("faces", 4, 360, 12)
    names = [(one["sampler"], one["scheduler"]) for one in told["combinations"]]
    assert names == [("random", "none"), ("tpe", "asha")]
    assert set(told["combinations"][1]["one_of_three_nearest"]) >= {"kimg", "kimg_to_target", "snap_distance"}
    assert image.stat().st_size > 1000


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--workers 0", "--workers is 0; allowed: 1 to 1000000"),
        ("--repeats 0", "--repeats is 0"),
        ("--trials 13", "--trials is 13; allowed: 1 to 12"),
        ("--scheduler pbt", "--scheduler pbt changes configurations"),
        ("--sampler cmaes", "--sampler cmaes takes one objective"),
        ("--plot nowhere/p.png", "--plot is nowhere/p.png"),
        ("--plot p.pdf", "expected a .png file"),
    ],
)
def test_mistakes_are_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "faces", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_default_methods_that_do_not_fit_a_space_are_skipped_and_named_ones_refused() -> None:
    usual = combinations(ranked(), (), ())
    assert {("tpe", "mo-asha"), ("prior", "mo-asha")} <= set(usual)
    confident = ranked()
    began = dataclasses.replace(confident.settings, sampler="prior", prior_confidence=0.75)
    assert combinations(dataclasses.replace(confident, settings=began), (), ()) == usual
    dcgan = recorded(ranked().curves)
    dcgan = type(dcgan)(dcgan.settings, find_space("dcgan"), dcgan.curves)
    assert combinations(dcgan, (), ()) == [(s, h) for s in ("random", "tpe", "prior") for h in ("none", "asha")]
    with pytest.raises(UsageError, match="mo-asha"):
        combinations(dcgan, (), ("asha", "mo-asha"))
