from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.effects.comparison_point import common_point, early_point, points_of, require_one_fingerprint
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.learning_curves import learning_curves
from analysis.mlflow_reader.sweep import load
from tests.support.sweeps import History, make_sweep


def table(*groups: tuple[int, int, int]) -> pd.DataFrame:
    """Trials 0..n-1 scored at each (kimg, samples, n)."""
    rows = [(f"t{i}", kimg, samples, 10.0 + i) for kimg, samples, n in groups for i in range(n)]
    return pd.DataFrame(rows, columns=["key", "kimg", "samples", "distance"])


def test_the_latest_point_that_half_of_the_trials_reached() -> None:
    points = points_of(table((11, 500, 40), (33, 500, 20), (100, 2000, 7)), "distance")
    assert [(point.kimg, point.samples, len(point.values)) for point in points] == [
        (11, 500, 40),
        (33, 500, 20),
        (100, 2000, 7),
    ]
    late = common_point(points, 12)
    assert late is not None
    assert (late.kimg, late.share) == (33, 0.5)
    early = early_point(points, 12, late)
    assert early is not None
    assert early.kimg == 11
    assert common_point(points, 41) is None
    assert early_point(points[1:], 12, late) is None


def test_other_numbers_of_samples_are_other_points() -> None:
    points = points_of(pd.concat([table((50, 500, 5)), table((50, 2000, 9))]), "distance")
    late = common_point(points, 4)
    assert late is not None
    assert late.samples == 2000


def test_missing_sample_counts_and_scores() -> None:
    curves = table((10, 1, 3)).assign(samples=np.nan)
    curves.loc[0, "distance"] = np.nan
    (point,) = points_of(curves, "distance")
    assert (point.samples, list(point.values.index), point.to_json()["samples"]) == (0, ["t1", "t2"], None)


def test_curves_are_read_from_the_histories(history: History, logged: str) -> None:
    found = learning_curves(load(logged, home=history.home), ["distance", "tag_accuracy"])
    assert list(found.columns) == ["key", "kimg", "samples", "distance", "tag_accuracy"]
    rows = found[found["key"] == "faces-00000"].to_numpy().tolist()
    assert [row[1] for row in rows] == [20, 40]
    assert [row[3] for row in rows] == [80.0, 41.5]
    assert rows[1][4] == 0.8
    assert np.isnan(rows[0][4])
    assert set(found["key"]) == {f"faces-{i:05d}" for i in range(4)}  # the fifth was never scored


def test_curves_of_a_sweep_made_by_hand_are_its_last_values() -> None:
    sweep = make_sweep([{"scores.distance": 5.0, "kimg": 30.0}, {"scores.distance": np.inf}, {}])
    assert learning_curves(sweep, ["distance"]).to_numpy().tolist()[0][:2] == ["hand-00000", 30.0]
    assert len(learning_curves(sweep, ["distance"])) == 1
    with pytest.raises(AnalysisUsageError, match=r"no score 'distanc' \(did you mean 'distance'\?\); it has: distance"):
        learning_curves(sweep, ["distanc"])


def test_several_ways_of_scoring_are_refused() -> None:
    sweep = make_sweep([{"scores.distance": 5.0}, {"scores.distance": 6.0, "fingerprint": "{}"}, {"fingerprint": "[]"}])
    with pytest.raises(AnalysisError, match="measured in 2 ways"):
        require_one_fingerprint(sweep)
