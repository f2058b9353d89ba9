"""Spaces and sweeps in words and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlflow import MlflowClient

from analysis.ranking.ranking import rank
from analysis.reports.sections import method
from pipeline.cli.main import main
from pipeline.cli.status import format_status, sweep_status
from pipeline.home import Home
from pipeline.sweep_lock import lock_sweep
from tests.support.sweeps import make_repeats, make_sweep
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.pipeline.sweep import Swept


def test_spaces_as_json_keep_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "acgan", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "acgan"
    width = next(d for d in said["dimensions"] if d["name"] == "generator.width")
    assert (width["kind"], width["choices"], width["default"]) == ("choice", [16, 32, 64, 128], 64)
    rate = next(d for d in said["dimensions"] if d["name"] == "optimizer.generator_lr")
    assert (rate["kind"], rate["low"], rate["high"], rate["log"]) == ("float", 5e-5, 1e-3, True)
    weight = next(d for d in said["dimensions"] if d["name"] == "losses.tag_weight")
    assert weight["when"] == {"discriminator.conditioning": ["acgan"]}
    for dimension in said["dimensions"]:
        assert {"name", "kind", "log", "default", "when", "claim"} <= set(dimension)
        assert ("choices" in dimension) != ("low" in dimension and "high" in dimension)


def test_parameter_counts_are_those_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    from search_spaces.acgan import ACGAN
    from trainables.config import GanConfig
    from trainables.networks.discriminator import Discriminator
    from trainables.networks.generator import Generator

    main(["spaces", "acgan", "--json"])
    counts = json.loads(capsys.readouterr().out)["parameters"]
    config = GanConfig.from_params(ACGAN.recipe)
    networks = {
        "generator": Generator(config, (12, 11)),
        "discriminator": Discriminator(config, (12, 11), code=23),
    }
    assert counts == {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def test_parameters_of_translations_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """CycleGAN's in both directions; StarGAN's for 12 hair and 11 eye colours at 128 px, which end in 4 x 4 of 1024."""

    def conv(inputs: int, outputs: int, kernel: int) -> int:
        return inputs * outputs * kernel**2 + outputs

    counts = {}
    for name in ("cyclegan", "stargan"):
        main(["spaces", name, "--json"])
        said = json.loads(capsys.readouterr().out)
        counts[name] = said["parameters"]
    inner = [(64, 128, 3), (128, 256, 3), *[(256, 256, 3)] * 12, (256, 128, 3), (128, 64, 3)]
    body = sum(conv(*shape) + 2 * shape[1] for shape in inner) + 2 * 64 + conv(64, 3, 7)
    patches = [(3, 64, 4), (64, 128, 4), (128, 256, 4), (256, 512, 4), (512, 1, 4)]
    tag_classifier = sum(conv(*shape) for shape in patches) + 2 * (128 + 256 + 512)
    assert counts["cyclegan"] == {"generator": 2 * (body + conv(3, 64, 7)), "discriminator": 2 * tag_classifier}
    trunk = [*patches[:-1], (512, 1024, 4), (1024, 1, 3), (1024, 12, 4), (1024, 11, 4)]
    tag_classifier = sum(conv(*shape) for shape in trunk)
    assert counts["stargan"] == {"generator": body - 2 * 64 + conv(3 + 23, 64, 7), "discriminator": tag_classifier}


def test_spaces_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces"]) == 0
    assert capsys.readouterr().out.startswith("acgan ")
    assert main(["spaces", "acgan"]) == 0
    said = capsys.readouterr().out
    assert "generator.width = 64  (16, 32, 64, 128)" in said
    assert "losses.tag_weight = 1.0  (0.25 to 4, log)  [when discriminator.conditioning is acgan]" in said


def test_status_counts_states_and_reasons_and_knows_the_best_that_did_not_fail() -> None:
    sweep = make_sweep(
        [
            {"scores.distance": 30.0, "scores.tag_accuracy": 0.5},
            {"scores.distance": 20.0, "scores.tag_accuracy": 0.4, "status": "stopped"},
            {"scores.distance": 1.0, "scores.tag_accuracy": 0.9, "status": "failed", "reason": "diverged: x"},
            {"status": "failed", "reason": "diverged: x"},
            {"status": "failed", "reason": "crashed: y"},
            {"status": "failed", "reason": "collapsed: diversity 0.001"},
            {"status": "failed", "reason": "collapsed: diversity 0.002"},
            {"status": "failed", "reason": "collapsed: diversity 0.002"},
            {"status": "running"},
        ],
        settings={"trials": 9, "concurrent": 2},
    )
    status = sweep_status(sweep)
    assert status["trials"] == {
        "asked": 9, "running": 1, "complete": 1, "stopped": 1, "failed": 6, "interrupted": 0,
    }  # fmt: skip
    assert status["reasons"] == {
        "diverged: x": 2, "crashed: y": 1, "collapsed: diversity 0.001": 1, "collapsed: diversity 0.002": 2,
    }  # fmt: skip
    kinds = {name: about["count"] for name, about in status["reason_kinds"].items()}
    assert kinds == {"collapsed": 3, "diverged": 2, "crashed": 1}
    assert status["workers"] == {"slots": 2, "running": 1, "use": 0.5}
    sweep.settings["fuse"] = "4"
    assert sweep_status(sweep)["workers"] == {"slots": 8, "running": 1, "use": 0.125}
    assert status["slot_use"] is None
    assert status["best"] == {
        "distance": {"key": "hand-00001", "value": 20.0},
        "tag_accuracy": {"key": "hand-00000", "value": 0.5},
    }
    words = format_status(status)
    assert "hand: 9 trials requested; 1 running, 1 complete, 1 stopped, 6 failed" in words
    assert "2 failed: diverged: x" in words
    assert "3 failed: collapsed (e.g. collapsed: diversity 0.002)" in words
    assert "best distance: 20 (hand-00001)" in words
    assert (status["winner"]["key"], status["winner"]["confirmed"]) == ("hand-00001", None)  # 0.4 is 0.8 of 0.5
    assert "winner: hand-00001: distance 20.00, tag accuracy 40.0%\n  rule: lowest distance among the 2 of 2" in words
    assert sweep_status(sweep, min_tag_accuracy=0.45)["winner"]["key"] == "hand-00000"
    unmet = format_status(sweep_status(sweep, min_tag_accuracy=0.9))
    assert unmet.index("rule: no trial has a tag accuracy of at least 90.0%") < unmet.index("winner: hand-00001")


def test_best_tag_accuracy_is_that_of_all_trials_confirmed_or_not() -> None:
    rows = [{"scores.distance": 10.0 + at, "scores.tag_accuracy": share, "recipe": at == 1}
            for at, share in enumerate((0.1, 0.3, 0.9))]  # fmt: skip
    repeats = [{"of": f"hand-0000{at}", "seed": seed, "scores.distance": 20.0 + at, "scores.tag_accuracy": 0.2}
               for at in (0, 1) for seed in (0, 1)]  # fmt: skip
    status = sweep_status(make_sweep(rows, settings={"max_kimg": 40}, repeats=make_repeats(repeats)))
    assert status["best"]["tag_accuracy"] == {"key": "hand-00002", "value": 0.9}
    assert status["best"]["distance"]["confirmed"] == {"seeds": 2, "kimg": 40, "unit": "kimg"}
    assert (status["winner"]["key"], status["winner"]["confirmed"]) == ("hand-00002", None)


def test_status_counts_repeats_and_gives_the_mean_of_the_confirmed_best() -> None:
    repeats = [
        {"of": "hand-00000", "seed": 0, "scores.distance": 10.0},
        {"of": "hand-00000", "seed": 1, "scores.distance": 14.0},
        {"of": "hand-00001", "seed": 0, "scores.distance": 25.0},
        {"of": "hand-00001", "seed": 1, "status": "running"},
        {"of": "hand-00000", "seed": 0, "kind": "ablation", "key": "a", "status": "failed"},
    ]
    sweep = make_sweep(
        [{"status": "failed", "reason": "out of memory", "recipe": True}, {"scores.distance": 20.0}],
        settings={"trials": 2, "concurrent": 2, "max_kimg": 40},
        repeats=make_repeats(repeats),
    )
    status = json.loads(json.dumps(sweep_status(sweep), allow_nan=False))
    assert status["repeats"] == {"ablation": {"failed": 1}, "confirmation": {"running": 1, "complete": 3}}
    assert status["workers"] == {"slots": 2, "running": 1, "use": 0.5}
    best = status["best"]["distance"]
    assert best["key"] == "hand-00000"  # its trial has no score
    assert (best["value"], best["confirmed"]) == (12.0, {"seeds": 2, "kimg": 40, "unit": "kimg"})
    words = format_status(status)
    assert "best distance: 12 (hand-00000, mean of 2 fresh seeds of 40 kimg)" in words
    assert "confirmation: 1 running, 3 complete" in words
    left = sweep_status(sweep, driven=False)
    assert left["workers"]["running"] == 0
    assert left["repeats"]["confirmation"] == {"complete": 3, "interrupted": 1}


def test_status_of_a_sweep_without_trials() -> None:
    status = sweep_status(make_sweep([], settings={"trials": 4}))
    assert (status["best"], status["reasons"]) == ({}, {})
    assert format_status(status) == "hand: 4 trials requested; none started"


def test_status_of_a_sweep_whose_driver_still_prepares_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its settings stand in the home before MLflow knows it: a tag classifier may take minutes."""
    home = Home.find(tmp_path)
    client = MlflowClient(home.tracking)
    client.create_experiment("other")
    write_json(home.sweep("mine") / "sweep.json", {"settings": {"trials": 12}, "started_with": {"tracking": None}})
    asked = ["status", "mine", "--home", str(tmp_path)]
    with lock_sweep(home, "mine"):
        assert main(asked) == 0
    summary, preparing = capsys.readouterr().out.splitlines()
    assert "mine: 12 trials" in summary
    assert "preparing" in preparing
    assert main([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["trials"], said["preparing"], said["best"]) == ({"asked": 12}, False, {})
    assert main(asked) == 0
    assert "`gansweep resume mine`" in capsys.readouterr().out
    # Tracked by a server, it may have begun long ago: what this home's MLflow does not know says nothing of it.
    write_json(
        home.sweep("mine") / "sweep.json", {"settings": {"trials": 12}, "started_with": {"tracking": "http://x"}}
    )
    assert main(asked) == 2
    refused = capsys.readouterr().err
    assert "no sweep 'mine'" in refused
    assert "--tracking http://x" in refused
    (home.sweep("mine") / "sweep.json").write_text("{", encoding="utf-8")
    assert main(asked) == 1
    assert "cannot read" in capsys.readouterr().err
    assert main(["status", "yours", "--home", str(tmp_path)]) == 2


def test_status_of_the_sessions_sweep(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "tiny", "--home", str(swept.home.root), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    statuses = [run.data.tags["gansweep.status"] for run in swept.runs()]
    for name in ("complete", "stopped", "failed", "running"):
        assert said["trials"][name] == statuses.count(name)
    assert sum(said["reasons"].values()) == statuses.count("failed")


def test_status_and_report_tell_how_much_of_the_slots_was_used() -> None:
    sweep = make_sweep(
        [{"scores.distance": 20.0}], figures={"slot_use": 0.8125, "slot_seconds": 7200.0, "busy_seconds": 5850.0}
    )
    status = sweep_status(sweep)
    assert status["slot_use"] == 0.8125
    assert "81.2% of worker slot time" in format_status(status)
    sections = dict(method(rank(sweep)))
    assert sections["Slots"] == [("training and scoring", "81.2% of 2h00m of slot time")]
    assert "Slots" not in dict(method(rank(make_sweep([{"scores.distance": 20.0}]))))
