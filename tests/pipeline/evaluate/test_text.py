"""The table of ``gansweep score``: every number in its column, nothing where nothing is known."""

from __future__ import annotations

from pipeline.evaluate.text import format_scores

FOUND = {
    "scores": {"fid": 12.3456, "tag_accuracy": 0.5, "tag_accuracy_hair": 0.75, "tag_accuracy_macro_hair": None},
    "intervals": {"fid": [11.0, 13.5], "tag_accuracy": [0.25, 0.75]},
    "fingerprint": {
        "extractor": "inception",
        "resize": "TF1 bilinear to 299 px",
        "precision": "float32",
        "image_size": None,
    },
    "sizes": {"real": {"96x96": 90, "90x96": 10}, "fake": {"32x32": 20}},
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
    "warnings": ["few images"],
}


def test_the_whole_text() -> None:
    assert format_scores(FOUND) == "\n".join(
        [
            "20 generated images against 100 real ones; inception, TF1 bilinear to 299 px, float32",
            "",
            "score                    value  95% interval  real vs real  tag classifier",
            "fid                      12.35  11 to 13.5    3.25",
            "tag_accuracy             0.5    0.25 to 0.75                0.625 (0.5 to 0.75)",
            "tag_accuracy_hair        0.75                               0.875 (0.75 to 1)",
            "tag_accuracy_macro_hair  none                               0.8125",
            "",
            "accuracies of the tag classifier are on 40 held-out real images",
            "hair, worst first (in brackets the tag classifier on real images): blue 0.5 of 10 (none), red 1 of 10 "
            "(0.875)",
            "hair, calibration error of the tag classifier: 0.125 on generated images, none on real ones",
            "fake: 7 empty: 0.png (0 bytes), 1.png (0 bytes), 2.png (0 bytes), 3.png (0 bytes), 4.png (0 bytes), ...",
            "warning: few images",
        ]
    )


def test_without_tags_there_is_no_tag_classifier() -> None:
    text = format_scores({**FOUND, "tags": None, "judge": None, "warnings": []})
    assert "worst first" not in text
    assert text.splitlines()[4].split() == ["tag_accuracy", "0.5", "0.25", "to", "0.75"]
    assert "warning" not in text


def test_a_resize_is_said_with_the_sizes_before_it() -> None:
    text = format_scores({**FOUND, "fingerprint": {**FOUND["fingerprint"], "image_size": 24}})
    expected = "all images were resized to 24x24 pixels; real ones are mostly 96x96, generated ones 32x32"
    assert text.splitlines()[1] == expected
