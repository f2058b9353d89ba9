"""The table of ``gansweep score``: every number in its column, nothing where nothing is known."""

from __future__ import annotations

from pipeline.score_text import format_scores

FOUND = {
    "scores": {"fid": 12.3456, "tag_accuracy": 0.5, "tag_accuracy_hair": 0.75, "tag_accuracy_macro_hair": None},
    "intervals": {"fid": [11.0, 13.5], "tag_accuracy": [0.25, 0.75]},
    "fingerprint": {"extractor": "inception", "resize": "TF1 bilinear to 299 px", "precision": "float32"},
    "floor": {"fid": 3.25},
    "counts": {"real": 100, "fake": 20},
    "tags": {
        "groups": {
            "hair": {
                "calibration_error": 0.125,
                "judge_calibration_error": None,
                "per_class": {
                    "red": {"accuracy": 1.0, "asked": 10, "judge_accuracy": 0.875},
                    "blue": {"accuracy": 0.5, "asked": 10, "judge_accuracy": None},
                    "pink": {"accuracy": None, "asked": 0, "judge_accuracy": 0.5},
                },
            }
        }
    },
    "judge": {
        "held_out": 40,
        "accuracy": {"both": 0.625, "hair": 0.875},
        "intervals": {"both": [0.5, 0.75], "hair": [0.75, 1.0]},
        "macro_accuracy": {"hair": 0.8125},
    },
    "defects": {"real": {}, "fake": {"empty": {"count": 7, "names": [f"{n}.png (0 bytes)" for n in range(7)]}}},
    "warnings": ["few pictures"],
}


def test_the_whole_text() -> None:
    assert format_scores(FOUND) == "\n".join(
        [
            "20 drawn pictures against 100 real ones; inception, TF1 bilinear to 299 px, float32",
            "",
            "score                    value  95% interval  real vs real  judge's own",
            "fid                      12.35  11 to 13.5    3.25",
            "tag_accuracy             0.5    0.25 to 0.75                0.625 (0.5 to 0.75)",
            "tag_accuracy_hair        0.75                               0.875 (0.75 to 1)",
            "tag_accuracy_macro_hair  none                               0.8125",
            "",
            "the judge's own accuracies are on 40 real pictures that it did not learn from",
            "hair, worst first (in brackets the judge's own): blue 0.5 of 10 (none), red 1 of 10 (0.875)",
            "hair, calibration error of the judge: 0.125 on drawn pictures, none on real ones",
            "fake: 7 empty: 0.png (0 bytes), 1.png (0 bytes), 2.png (0 bytes), 3.png (0 bytes), 4.png (0 bytes), ...",
            "warning: few pictures",
        ]
    )


def test_without_tags_there_is_no_judge() -> None:
    text = format_scores({**FOUND, "tags": None, "judge": None, "warnings": []})
    assert "worst first" not in text
    assert text.splitlines()[4].split() == ["tag_accuracy", "0.5", "0.25", "to", "0.75"]
    assert "warning" not in text
