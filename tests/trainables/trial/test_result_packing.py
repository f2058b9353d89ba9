"""Results that Ray Tune is to keep little of."""

from __future__ import annotations

import math

from ray.tune.experiment import Trial

from trainables.trial.result_packing import FIGURES, pack_result, unpack_result

RESULT = {
    "kimg": 16, "distance": 3.5, "tag_accuracy": 0.25, "done": False, "samples": 512, "d_loss": 0.1 + 0.2,
    "hopeless": True, "pictures": ["a.png"], "notice": "one line",
}  # fmt: skip


def test_what_decides_stays_in_sight_and_the_rest_comes_back() -> None:
    sent = pack_result(RESULT)
    assert {name: value for name, value in sent.items() if name != FIGURES} == {
        "kimg": 16, "distance": 3.5, "tag_accuracy": 0.25, "done": False, "pictures": ["a.png"], "notice": "one line",
    }  # fmt: skip
    assert isinstance(sent[FIGURES], str)
    assert unpack_result(sent) == RESULT


def test_values_that_json_does_not_know_come_back() -> None:
    back = unpack_result(pack_result({"kimg": 1, "high": math.inf, "none": math.nan, "tiny": 5e-324}))
    assert (back["high"], back["tiny"]) == (math.inf, 5e-324)
    assert math.isnan(back["none"])


def test_a_result_that_was_never_folded_stays() -> None:
    assert unpack_result(RESULT) == RESULT
    assert unpack_result(RESULT) is not RESULT


def test_tune_keeps_statistics_of_what_decides_only() -> None:
    trial = Trial("__fake", stub=True)
    trial.update_last_result({**pack_result(RESULT), "training_iteration": 1})
    assert set(trial.metric_analysis) == {"kimg", "distance", "tag_accuracy", "done", "training_iteration"}
