from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.sweep import Sweep, load
from analysis.rank import main, write_csv
from analysis.ranking.ranking import rank
from analysis.ranking.table import format_table
from analysis.reports.sections import ranking_table, tiles
from tests.support.sweeps import DATA, FINGERPRINT, History, make_sweep

if TYPE_CHECKING:
    from pathlib import Path


def trial(distance: float | None, accuracy: float | None = None, **more: Any) -> dict[str, Any]:
    return {"scores.distance": distance, "scores.fid": distance, "scores.tag_accuracy": accuracy, **more}


def keys(numbers: list[int]) -> list[str]:
    return [f"hand-{number:05d}" for number in numbers]


@pytest.fixture(scope="module")
def faces(history: History, logged: str) -> Sweep:
    return load(logged, home=history.home)


# Order -------------------------------------------------------------------------------------------------------
def test_lowest_distance_first_and_what_has_none_last() -> None:
    ranking = rank(make_sweep([trial(None), trial(30.0), trial(math.nan), trial(10.0), trial(math.inf), trial(20.0)]))
    assert list(ranking.trials["key"]) == keys([3, 5, 1, 0, 2, 4])
    assert ranking.trials["rank"].fillna(0).tolist() == [1, 2, 3, 0, 0, 0]
    assert ranking.best == "hand-00003"


def test_highest_accuracy_first() -> None:
    sweep = make_sweep([trial(10, 0.5), trial(20, 0.9), trial(30, 0.7)])
    assert list(rank(sweep, "tag_accuracy").trials["key"]) == keys([1, 2, 0])
    assert rank(sweep, "tag_accuracy").best_by("tag_accuracy") == "hand-00001"
    assert rank(sweep, "fid").best_by("fid") == "hand-00000"


def test_equal_scores_keep_the_order_of_the_trials() -> None:
    assert list(rank(make_sweep([trial(5.0), trial(4.0), trial(5.0), trial(4.0)])).trials["key"]) == keys([1, 3, 0, 2])


def test_a_failed_trial_is_shown_after_the_others_and_never_best() -> None:
    failed: dict[str, Any] = {"status": schema.FAILED, "reason": "diverged"}
    ranking = rank(make_sweep([trial(1.0, 0.99, **failed), trial(9.0, 0.1), trial(None, **failed)]))
    assert list(ranking.trials["key"]) == keys([1, 0, 2])
    assert (ranking.best, ranking.pareto) == ("hand-00001", ["hand-00001"])
    nothing = rank(make_sweep([trial(1.0, **failed)]))
    assert (nothing.best, nothing.pareto) == (None, [])


def test_stopped_and_interrupted_trials_are_ranked() -> None:
    rows = [trial(3.0), trial(1.0, status=schema.STOPPED, kimg=20.0), trial(2.0, status=schema.INTERRUPTED)]
    assert list(rank(make_sweep(rows)).trials["key"]) == keys([1, 2, 0])


def test_distances_of_fewer_samples_never_compete_with_those_of_more() -> None:
    early: dict[str, Any] = {"samples": 256, "status": schema.STOPPED}
    rows = [
        trial(30, 0.5, samples=2048), trial(20, 0.8, **early), trial(40, 0.6, samples=2048), trial(10, 0.9, **early),
        trial(1, 0.99, samples=4096, status=schema.FAILED),
    ]  # fmt: skip
    ranking = rank(make_sweep(rows))
    assert list(ranking.trials["key"]) == keys([0, 2, 3, 1, 4])
    assert ranking.trials["rank"].fillna(0).tolist() == [1, 2, 3, 4, 0]
    assert ranking.pareto == keys([0, 2])
    assert "2 on 256 images rather than 2048" in format_table(ranking)
    # An accuracy has no such bias.
    by_accuracy = rank(make_sweep(rows), "tag_accuracy")
    assert list(by_accuracy.trials["key"]) == keys([3, 1, 2, 0, 4])
    assert "rather than" not in format_table(by_accuracy)


def test_mmd_of_fewer_samples_never_competes_with_that_of_more() -> None:
    """CMMD's estimate is biased; kid's is not."""
    rows = [trial(9, **{"scores.mmd": mmd, "scores.kid": mmd, "samples": samples})
            for mmd, samples in ((3.0, 2048), (1.0, 256), (2.0, 2048))]  # fmt: skip
    ranking = rank(make_sweep(rows), "mmd")
    assert list(ranking.trials["key"]) == keys([2, 0, 1])
    assert "1 on 256 images rather than 2048" in format_table(ranking)
    assert "mmd grows as samples become fewer" in format_table(ranking)
    assert list(rank(make_sweep(rows), "kid").trials["key"]) == keys([1, 2, 0])


def test_intervals_are_pairs_of_their_score() -> None:
    ends = {"metrics.interval/distance/low": 9.0, "metrics.interval/distance/high": 11.5, "metrics.d_loss": 1.0}
    with_one, without = rank(make_sweep([trial(10.0, 0.5, **ends), trial(20.0, 0.5)])).to_json()["trials"]
    assert with_one["intervals"] == {"distance": [9.0, 11.5]}
    assert without["intervals"] == {}


def test_a_face_rate_is_shown_ranked_by_and_told() -> None:
    rates = (0.25, 0.75)
    ends = ("metrics.interval/face_rate/low", "metrics.interval/face_rate/high")
    rows = [trial(10.0 + at, 0.5, **{"scores.face_rate": rate, ends[0]: rate - 0.1, ends[1]: rate + 0.1})
            for at, rate in enumerate(rates)]  # fmt: skip
    ranking = rank(make_sweep(rows), "face_rate")
    assert (ranking.best_by("face_rate"), ranking.best) == (keys([1])[0], keys([0])[0])
    table = format_table(rank(make_sweep(rows)))
    assert "faces" in table
    assert table.index("25.0%") < table.index("75.0%")
    told = ranking.to_json()["trials"][0]
    assert (told["scores"]["face_rate"], told["intervals"]["face_rate"]) == (0.75, [0.65, 0.85])
    assert "faces" not in format_table(rank(make_sweep([trial(10.0, 0.5)])))
    tile = next(one for one in tiles(ranking) if one["name"] == "face rate")
    assert tile == {"value": "25.0%", "name": "face rate", "range": "95%: 15.0% to 35.0%"}  # of the lower distance
    page = ranking_table(ranking)
    assert page is not None
    assert [row[page.headers.index("faces")] for row in page.rows] == ["75.0%", "25.0%"]


@pytest.mark.parametrize(
    ("score", "way"),
    [("distance", "minimize"), ("fid", "minimize"), ("kid", "minimize"), ("mmd", "minimize"), ("memorised", "minimize"),
     ("tag_accuracy_hair", "maximize"), ("coverage", "maximize"), ("diversity", "maximize"), ("recall", "maximize"),
     ("face_rate", "maximize")],
)  # fmt: skip
def test_which_way_is_better(score: str, way: str) -> None:
    assert schema.direction(score) == way


def test_pareto_front_by_hand_in_the_order_of_the_ranking() -> None:
    sweep = make_sweep([trial(30, 0.9), trial(10, 0.5), trial(20, 0.4), trial(5, None), trial(10, 0.5)])
    assert rank(sweep).pareto == keys([1, 4, 0])
    assert rank(sweep, "tag_accuracy").pareto == keys([0, 1, 4])


def test_a_sweep_without_tag_accuracy_has_one_objective() -> None:
    assert rank(make_sweep([{"scores.distance": 3.0}, {"scores.distance": 2.0}])).pareto == ["hand-00001"]


def test_a_sweep_without_scores_or_trials_ranks_without_best(history: History) -> None:
    for sweep in (make_sweep([{"status": schema.FAILED}, {}]), make_sweep([])):
        ranking = rank(sweep)
        assert (ranking.best, ranking.pareto, len(ranking.trials)) == (None, [], len(sweep.trials))
        assert "Pareto front" in format_table(ranking)
        json.dumps(ranking.to_json(), allow_nan=False)


def test_ranking_leaves_the_sweep_alone(faces: Sweep) -> None:
    before = faces.trials.copy()
    rank(faces)
    pd.testing.assert_frame_equal(faces.trials, before)


# Refusals ----------------------------------------------------------------------------------------------------
def test_unknown_score_lists_the_allowed() -> None:
    with pytest.raises(
        AnalysisUsageError, match=r"'tag_acuracy' \(did you mean 'tag_accuracy'\?\); it has: distance, fid,"
    ):
        rank(make_sweep([trial(1.0, 0.5)]), "tag_acuracy")


def test_mixed_fingerprints_are_refused_unless_allowed() -> None:
    other = json.dumps(FINGERPRINT | {"samples": 5000}, sort_keys=True)
    sweep = make_sweep([trial(2.0), trial(1.0, fingerprint=other), trial(3.0)])
    with pytest.raises(AnalysisError, match=r"do not compare, they differ in samples \(1000, 5000\); --allow-mixed"):
        rank(sweep)
    allowed = rank(sweep, allow_mixed=True)
    assert allowed.best == "hand-00001"
    assert allowed.to_json()["mixed_fingerprints"] is True
    assert "WARNING" in format_table(allowed)


def test_the_fingerprint_of_a_trial_without_scores_does_not_matter() -> None:
    assert not rank(make_sweep([trial(2.0), trial(None, fingerprint="{}")])).mixed


# JSON and CSV ------------------------------------------------------------------------------------------------
def test_json_is_strict_and_keeps_the_contract(faces: Sweep) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    got = json.loads(json.dumps(rank(faces).to_json(), allow_nan=False), parse_constant=refuse)
    assert {name: got[name] for name in ("sweep", "fingerprint", "pareto", "best")} == {
        "sweep": "faces",
        "fingerprint": FINGERPRINT,
        "pareto": ["faces-00001", "faces-00000", "faces-00002"],
        "best": "faces-00001",
    }
    stopped = got["trials"][2]
    assert {name: value for name, value in stopped.items() if name != "mlflow_run_id"} == {
        "key": "faces-00002",
        "number": 2,
        "system": "acgan",
        "status": "stopped",
        "reason": "asha: not among the best third at 20 kimg",
        "recipe": False,
        "rank": 3,
        "kimg": 20.0,
        "cost_kimg": 20.0,  # images are what is equal for all trials of this sweep
        "flops_per_image": None,
        "seconds": 74.0,
        "samples": None,
        "mutations": 0,
        "intervals": {},
        "scores": {
            "distance": 90.0,
            "fd_efficientnet_lite0": 90.0,
            "tag_accuracy": 0.9,
            "tag_accuracy_eyes": pytest.approx(0.92),
            "tag_accuracy_hair": pytest.approx(0.95),
        },
        "params": {
            "optimizer.lr": 5e-4,
            "generator.width": 16,
            "losses.soft_labels": False,
            "networks.norm": "1",
            "image_size": 64,
            "seed": 7919 * 3,
        },
    }
    unscored = got["trials"][-1]
    assert unscored["rank"] is unscored["kimg"] is unscored["scores"]["distance"] is None
    assert "networks.norm" not in unscored["params"]


def test_csv_round_trip(faces: Sweep, tmp_path: Path) -> None:
    ranking = rank(faces)
    write_csv(ranking, tmp_path / "trials.csv")
    back = pd.read_csv(tmp_path / "trials.csv")
    assert list(back.columns) == list(ranking.trials.columns)
    assert back["key"].tolist() == ranking.trials["key"].tolist()
    assert back["scores.distance"].iloc[:4].tolist() == [30.25, 41.5, 90.0, 10.0]
    write_csv(ranking, tmp_path / "none" / "trials.csv")
    assert (tmp_path / "none" / "trials.csv").read_bytes() == (tmp_path / "trials.csv").read_bytes()
    with pytest.raises(AnalysisError, match=r"cannot write .*trials.csv/t.csv"):
        write_csv(ranking, tmp_path / "trials.csv" / "t.csv")


# The table ---------------------------------------------------------------------------------------------------
def test_table_marks_recipe_front_and_equal_values(faces: Sweep) -> None:
    lines = format_table(rank(faces)).partition("\n\n")[0].splitlines()
    rows = {line.split()[1]: line for line in lines if line.split()[1:2] and line.split()[1].startswith("faces-")}
    assert "* recipe" in rows["faces-00000"]
    assert sum("recipe" in row for row in rows.values()) == 1
    assert "·" not in rows["faces-00000"]
    assert rows["faces-00001"].split()[-4:] == ["1", "64", "·", "·"]  # lr and width changed, the rest as the recipe
    assert "image" not in "".join(lines)  # the same in every trial
    assert "seed" not in "".join(lines)  # differs, but nobody searched it
    assert rows["faces-00003"].split()[0] == "-"


def test_footer_answers_the_first_questions(faces: Sweep) -> None:
    footer = format_table(rank(faces)).partition("\n\n")[2]
    assert "winner                faces-00001: distance 30.25" in footer
    assert "rule                  lowest distance among the 3 of 3 trials with a tag accuracy of" in footer
    assert "best by distance      faces-00001: distance 30.25" in footer
    assert "best by tag accuracy  faces-00002" in footer
    assert "faces-00001, faces-00000, faces-00002" in footer
    assert "hair 95.0%, eyes 90.0%, both 86.0%" in footer
    assert "diverged: [d_loss] is nan at 33 kimg" in footer  # brackets are not markup
    assert "data ab12ab12ab, extractor efficientnet_lite0" in footer


@pytest.mark.parametrize("width", [80, 100, 160])
def test_table_fits_its_width(faces: Sweep, width: int) -> None:
    lines = format_table(rank(faces), width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("00001" in line and "30.25" in line and "complete" in line for line in lines)


def test_top_keeps_recipe_and_front() -> None:
    rows = [trial(50.0, 0.1, recipe=True), *(trial(float(i), 0.5) for i in range(1, 20)), trial(90.0, 0.9)]
    text = format_table(rank(make_sweep(rows, data=DATA)), top=3)
    shown = [line.split()[1] for line in text.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    assert shown == keys([1, 2, 3, 0, 20])
    assert "and 16 more trials; --top 0" in text
    assert "more trials" not in format_table(rank(make_sweep(rows)), top=0)


def test_control_characters_of_a_reason_are_not_printed() -> None:
    rows = [trial(1.0), trial(None, status=schema.FAILED, reason="\x1b[31mboom")]
    text = format_table(rank(make_sweep(rows)))
    assert "boom" in text
    assert "\x1b" not in text


def test_mutated_trials_are_marked() -> None:
    rows = [{**trial(1.0), "metrics.mutations": 2.0}, {**trial(2.0), "metrics.mutations": math.nan}]
    ranking = rank(make_sweep(rows))
    text = format_table(ranking)
    assert [("mutated" in line) for line in text.splitlines() if "hand-0000" in line][:2] == [True, False]
    assert "1 copied the networks of better trials" in text
    assert [one["mutations"] for one in ranking.to_json()["trials"]] == [2, 0]
    assert "mutated" not in format_table(rank(make_sweep([trial(1.0)])))


# The command -------------------------------------------------------------------------------------------------
def test_command_prints_json_alone_on_stdout(
    history: History, logged: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "out.csv"
    assert main([logged, "--home", str(history.home), "--by", "tag_accuracy", "--json", "--csv", str(csv)]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert (told["trials"][0]["key"], told["best"]) == ("faces-00002", "faces-00001")  # the winner by the rule
    assert err == f"wrote {csv}\n"
    assert len(pd.read_csv(csv)) == 5


def test_command_prints_a_plain_table(history: History, logged: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([logged, "--home", str(history.home)]) == 0
    out, err = capfd.readouterr()
    assert "faces-00001" in out
    assert "\x1b" not in out
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["facs"], 2, "no sweep 'facs'"),
        (["faces", "--by", "kimg"], 2, "sweep 'faces' has no score 'kimg'"),
        (["faces", "--tracking", "http://127.0.0.1:1"], 1, "no MLflow server answers at http://127.0.0.1:1"),
        (["faces", "--home", "/nonexistent"], 1, "no sweeps in /nonexistent"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    history: History, logged: str, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    home = [] if "--home" in arguments else ["--home", str(history.home)]
    assert main([*arguments, *home]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"gansweep: error: {message}")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(AnalysisError):
        main(["faces", "--home", "/nonexistent", "--debug"])


def test_importing_the_options_is_light() -> None:
    modules = "'mlflow', 'pandas', 'numpy', 'rich.table'"
    heavy = f"import sys, analysis.rank; print([m for m in ({modules}) if m in sys.modules])"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.replace("'rich.table'", "").strip() == "[]", done.stderr


def test_failures_are_counted_by_kind_and_only_failed_trials_count() -> None:
    rows = [
        {"scores.distance": 3.0, "status": schema.FAILED, "reason": "diverged: d_loss is nan after 3.1 kimg"},
        {"status": schema.FAILED, "reason": "diverged: g_loss exceeded 10000 after 0.2 kimg"},
        {"status": schema.FAILED},
        {"scores.distance": 2.0, "status": schema.STOPPED, "reason": "stopped by the scheduler at 9 kimg"},
    ]
    found = rank(make_sweep(rows)).to_json()["failures"]
    assert found == {"diverged": 2, "no reason given": 1}
    assert list(found) == ["diverged", "no reason given"]
