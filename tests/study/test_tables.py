"""The tables and figures of docs/study."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from analysis import schema
from tests.study.conftest import sweep_of
from tests.support.sweeps import make_repeats, make_sweep

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from analysis.mlflow_reader.sweep import Sweep


def test_rows_of_other_studies_stay_as_they_are(run: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    seed = 12345678901234567
    file.write_text(f"study,claim,seed\nsystems-dcgan,9a,{seed}\nsmoke,20,1\nrival-dcgan,,\n", encoding="utf-8")
    rows = [{"study": "systems-wgan_gp", "claim": "14b", "distance": 2.5}, {"study": "rival-dcgan", "distance": 1 / 3}]
    run.replace_rows(file, rows, {"systems-wgan_gp", "rival-dcgan", "smoke"})
    assert file.read_text(encoding="utf-8").splitlines() == [
        "study,claim,seed,distance",
        f"systems-dcgan,9a,{seed},",
        "systems-wgan_gp,14b,,2.5",
        "rival-dcgan,,,0.333333",
    ]
    run.replace_rows(file, [], {"rival-dcgan"})
    assert list(pd.read_csv(file)["study"]) == ["systems-dcgan", "systems-wgan_gp"]
    run.replace_rows(tmp_path / "none.csv", [], set())
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("only", [(), ("--only", "smoke")])
def test_smoke_enters_the_tables_only_where_it_is_chosen(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: tuple[str, ...]
) -> None:
    monkeypatch.setattr(run, "recorded", lambda name, home: sweep_of(name) if name == "smoke" else None)
    monkeypatch.setattr(run, "run_rows", lambda study, sweep: [{"study": study.name}])
    monkeypatch.setattr(run, "check_claims", lambda sweep: [])
    monkeypatch.setattr(sys, "argv", ["run.py", "--tables", str(tmp_path), *only])
    assert run.main() == 0
    assert (tmp_path / "runs.csv").is_file() == bool(only)


CONFIRMED = {  # distances and tag accuracies of the runs of each configuration; none of a system without tags
    "search-tpe": [([30.0, 32.0, 31.0], [0.5, 0.6, 0.55]), ([20.0, 21.0, 22.0], [0.1, 0.1, 0.1])],
    "rival-acgan": [([36.0, 35.0, 40.0], [0.7, 0.6, 0.65])],
    "rival-dcgan": [([25.0, 26.0, 24.0], None)],
}
"""The lowest distance of the search does not follow its tags, so it is no winner."""


def confirmed_sweep(name: str) -> Sweep:
    """A sweep whose configurations were confirmed on three seeds; a fourth run of each took long and diverged."""
    trials, repeats = [], []
    for number, (distances, accuracies) in enumerate(CONFIRMED[name]):
        key = f"{name}-{number:05d}"
        scores = [
            {"scores.distance": distance, **({"scores.tag_accuracy": accuracies[seed]} if accuracies else {})}
            for seed, distance in enumerate(distances)
        ]
        trials.append({"key": key, "system": name.partition("-")[2], **scores[0]})
        about = {"of": key, "recipe": number == 1}
        repeats += [{**about, "seed": seed, "seconds": 10.0 * (seed + 1), **row} for seed, row in enumerate(scores)]
    failed = {"of": f"{name}-00000", "seed": 3, "seconds": 999.0, "status": schema.FAILED, "reason": "diverged"}
    repeats += [failed] if name == "rival-acgan" else []
    data = {"judge": {"accuracy": {"hair": 0.9}}, "pictures": 100}
    return dataclasses.replace(make_sweep(trials, name=name, data=data), repeats=make_repeats(repeats))


@pytest.fixture(params=[tuple(CONFIRMED), ("rival-dcgan",)], ids=["all", "without-tags"])
def tables(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[Path, tuple[str, ...]]:
    """The tables of question 3, and the studies in them."""
    monkeypatch.setattr(run, "recorded", lambda name, home: confirmed_sweep(name) if name in request.param else None)
    run.write_tables(run.STUDIES, tmp_path, tmp_path)
    return tmp_path, request.param


def test_confirmed_configurations_have_their_scores_and_costs(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    confirmed = pd.read_csv(folder / "confirmed.csv").set_index("configuration")
    assert confirmed.loc["rival-dcgan-00000", "distance"] == 25
    if "search-tpe" not in studies:
        assert "tag_accuracy" not in confirmed
        return
    winners = {
        "search-tpe-00000": True,
        "search-tpe-00001": False,
        "rival-acgan-00000": True,
        "rival-dcgan-00000": True,
    }
    assert dict(confirmed["winner"]) == winners
    assert dict(confirmed["follows_tags"]) == winners
    assert (confirmed["seconds"] == 20).all()
    assert (confirmed["runs"] == 3).all()
    assert dict(confirmed["failed"]) == {**dict.fromkeys(winners, 0), "rival-acgan-00000": 1}
    mean, half = 31.0, stats.t.ppf(0.975, 2) * (1 / 3) ** 0.5
    row = confirmed.loc["search-tpe-00000"]
    found = tuple(row[["distance", "distance_low", "distance_high"]])
    assert found == pytest.approx((mean, mean - half, mean + half), rel=1e-4)
    assert row["tag_accuracy"] == pytest.approx(0.55)
    assert np.isnan(confirmed.loc["rival-dcgan-00000", "tag_accuracy"])


def test_winners_are_compared_with_the_searched_one_by_welch(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    differences = pd.read_csv(folder / "differences.csv").set_index("study")
    assert list(differences.index) == [study for study in studies if study != "search-tpe" and len(studies) > 1]
    for study, row in differences.iterrows():
        assert (row["search_configuration"], row["search_runs"]) == ("search-tpe-00000", 3)
        for score, rival, winner in zip(
            ("distance", "tag_accuracy"), CONFIRMED[str(study)][0], CONFIRMED["search-tpe"][0], strict=True
        ):
            found = tuple(row[[score, f"{score}_low", f"{score}_high"]])
            if rival is None:
                assert np.isnan(found).all()
                continue
            interval = stats.ttest_ind(rival, winner, equal_var=False).confidence_interval()
            assert found == pytest.approx((np.mean(rival) - np.mean(winner), *interval), rel=1e-4)


def test_figures_have_what_the_tables_have(tables: tuple[Path, tuple[str, ...]]) -> None:
    folder, studies = tables
    figures = importlib.import_module("figures")
    files = figures.draw_all(folder, folder / "figures")
    assert [file.name for file in files] == ["confirmed.png", *(["search.png"] if "search-tpe" in studies else [])]
    panels = figures.draw_confirmed(pd.read_csv(folder / "confirmed.csv")).axes
    drawn = [
        sorted((line.get_xdata()[0], line.get_ydata()[0], line.get_fillstyle() == "full") for line in axes.lines
               if line.get_marker() in figures.MARKERS.values())
        for axes in panels
    ]  # fmt: skip
    tagged = [(10, 21, False), (55, 31, True), (65, 37, True)] if "search-tpe" in studies else []
    assert drawn == [[pytest.approx(point) for point in tagged], [(0, 25, True)]]


def test_images_are_those_of_the_search_and_of_its_best_rival(run: ModuleType, tmp_path: Path) -> None:
    figures = importlib.import_module("figures")
    searched = [f"search-tpe-{number:05d}" for number in range(3)]
    rivals = [f"rival-{name}-00000" for name in ("acgan", "cdcgan", "dcgan")]
    studies = ["search-tpe"] * 3 + ["rival-acgan", "rival-cdcgan", "rival-dcgan"]
    for shade, (study, name) in enumerate(zip(studies, [*searched, *rivals], strict=True)):
        file = tmp_path / "trials" / study / name / "panels" / "grid.png"
        file.parent.mkdir(parents=True)
        Image.new("L", (4, 4), 50 * shade).save(file)
    runs = pd.DataFrame({
        "study": [*studies, "search-tpe"], "key": [*searched, *rivals, "search-tpe-00002-c0"],
        "distance": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0], "tag_accuracy": [0.1, 0.5, 0.2, 0.3, 0.4, np.nan, 0.9],
        "status": "complete",
    })  # fmt: skip
    confirmed = pd.DataFrame({
        "study": [*studies[:2], *studies[3:]], "configuration": [*searched[:2], *rivals],
        "system": ["", "", "acgan", "cdcgan", "dcgan"], "recipe": [True, False, True, True, True],
        "winner": [False, True, True, True, True], "distance": [9.0, 8.0, 5.5, 5.6, 3.0],
        "tag_accuracy": [0.1, 0.5, 0.3, 0.4, np.nan],
    })  # fmt: skip
    shown = figures.draw_samples(tmp_path, runs, confirmed).axes
    shades = [round(float(np.asarray(axes.images[0].get_array()).max()) * 255) for axes in shown]
    assert shades == [0, 100, 50, 150]
    for axes, words in zip(shown, (("9", "10%"), ("7", "20%"), ("8", "50%"), ("acgan", "6", "30%")), strict=True):
        assert all(word in axes.get_title() for word in words)
    (tmp_path / "trials" / "rival-acgan" / "rival-acgan-00000" / "panels" / "grid.png").unlink()
    assert [len(axes.images) for axes in figures.draw_samples(tmp_path, runs, confirmed).axes] == [1, 1, 1, 0]
    alone = figures.draw_samples(tmp_path, runs, confirmed[confirmed["study"] == "search-tpe"]).axes
    assert [len(axes.images) for axes in alone] == [1, 1, 1, 0]
    assert not any(axes.axison for axes in alone)


def test_images_of_variants_are_those_of_one_seed(run: ModuleType, tmp_path: Path) -> None:
    figures = importlib.import_module("figures")
    for shade, name in enumerate(("recipe-00", "recipe-01", "with-discriminator.conditioning=concat-00")):
        file = tmp_path / "trials" / "claims-acgan" / f"claims-acgan-00000-a-{name}" / "panels" / "grid.png"
        file.parent.mkdir(parents=True)
        Image.new("L", (4, 4), 50 * shade).save(file)
    shown = figures.draw_variants(tmp_path).axes
    shades = [[round(float(np.asarray(image.get_array()).max()) * 255) for image in axes.images] for axes in shown]
    assert shades == [[0], [], [100], []]
    assert shown[2].get_title() == "with discriminator.conditioning=concat"


def test_images_of_systems_are_the_last_ones_of_their_first_runs(run: ModuleType, tmp_path: Path) -> None:
    figures = importlib.import_module("figures")
    for name, shades in (
        ("dcgan-00000", (50, 200)),
        ("dcgan-00000-c00", (90,)),
        ("acgan-00000", (130,)),
        ("cyclegan-00000", (9,)),
    ):
        folder = tmp_path / "trials" / f"systems-{name.partition('-')[0]}" / f"systems-{name}" / "samples"
        folder.mkdir(parents=True)
        for kimg, shade in enumerate(shades):
            Image.new("RGB", (8, 8), (shade,) * 3).save(folder / f"kimg-{kimg:06d}.png")
    files = figures.copy_samples(tmp_path, tmp_path)
    assert [file.name for file in files] == ["systems-acgan.jpg", "systems-dcgan.jpg"]
    assert [Image.open(file).getpixel((4, 4)) for file in files] == [(130, 130, 130), (200, 200, 200)]


def test_figures_of_curves_claims_and_trials_leave_out_what_says_nothing(run: ModuleType) -> None:
    figures = importlib.import_module("figures")
    curves = pd.DataFrame(
        [{"study": f"systems-{name}", "key": "a", "kimg": kimg, "samples": samples, "distance": 9.0 - kimg,
          "tag_accuracy": accuracy}
         for name, accuracy in (("acgan", 0.5), ("dcgan", None))
         for kimg, samples in ((1, 512), (2, 512), (3, 2048))]
    )  # fmt: skip
    (tags,) = (axes for axes in figures.draw_curves(curves, "tag_accuracy", "tags").axes if axes.get_visible())
    assert tags.get_title(loc="left") == "acgan"
    distances = [axes.lines[0].get_ydata().tolist() for axes in figures.draw_curves(curves, "distance", "d").axes]
    assert distances == [[8, 7], [8, 7]]
    higher = curves.assign(distance=curves["distance"].where(curves["study"] != "systems-dcgan", 99))
    for axes in figures.draw_curves(higher, "distance", "d").axes:  # no line beyond a panel, whichever comes first
        low, high = axes.get_ylim()
        assert low == 0
        assert high >= 99
    claim = {"claim": "1", "metric": "distance", "time": "final", "comparison": "a", "verdict": "supported"}
    claims = pd.DataFrame([
        {**claim, "unit": "ratio", "estimate": 1.21, "low": 1.1, "high": 1.331, "smallest_separable": 1.1},
        {**claim, "unit": "share", "estimate": 0.4, "low": 0.4, "high": 0.4, "smallest_separable": np.inf},
    ])  # fmt: skip
    interval, point, *_ = figures.draw_claims(claims).axes[0].lines[:2]
    assert interval.get_xdata().tolist() == pytest.approx([1, 3])  # in units of a tenth more
    assert point.get_xdata().tolist() == pytest.approx([2])
    runs = pd.DataFrame(
        [{"study": "search-tpe", "key": f"search-tpe-0000{place}", "status": status, "distance": distance,
          "tag_accuracy": 0.1 * place}
         for place, (status, distance) in enumerate((("complete", 5.0), ("failed", 1.0), ("complete", 4.0)))]
    )  # fmt: skip
    above, below = figures.draw_search(runs).axes
    assert above.lines[1].get_ydata().tolist() == [5, 5, 4]
    assert below.lines[1].get_ydata().tolist() == pytest.approx([0, 0, 20])
