"""The command that measures a GPU, on what a CPU has of it."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import gpu

if TYPE_CHECKING:
    from pathlib import Path


def test_rates_are_medians_without_the_first_round_and_failures_are_named() -> None:
    paces = iter([100.0, 1.0, 5.0, 3.0])
    calls: list[int] = []

    def fails() -> float:
        calls.append(1)
        raise RuntimeError("no such layout\nmore")

    assert gpu.rates({"a": lambda: next(paces), "b": fails}) == {"a": 3.0, "b": "RuntimeError: no such layout"}
    assert len(calls) == 1


@pytest.mark.slow
def test_a_quick_run_on_the_cpu_fills_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    words = ["--device", "cpu", "--quick", "--systems", "dcgan", "lightgan", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["gpu", *words])
    gpu.main()
    report = json.loads(output.read_text())
    assert report["equality"] == {"dcgan": 0.0, "lightgan": 0.0, "within": 1e-3, "equal": True}  # a CPU equals itself
    for name in ("dcgan", "lightgan"):
        assert set(report["steps"][name]) == {"contiguous", "channels-last", "tf32", "bf16"}
    paces = [
        *report["steps"]["dcgan"].values(), *report["steps"]["lightgan"].values(), *report["fused"]["2"].values(),
        *report["processes"].values(), *report["scoring"].values(),
    ]  # fmt: skip
    assert all(isinstance(pace, float) and 0 < pace < math.inf for pace in paces), report
    assert 0 < report["memory"]["packing"]["peak"] < report["memory"]["packing"]["total"]
    assert "left out" in report["sweep"]
    assert report["complete"] is False


def test_a_run_without_time_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--quick", "--minutes", "0", "-o", str(output)])
    gpu.main()
    report = json.loads(output.read_text())
    assert [section for section in gpu.SECTIONS if report[section] == {"left out": "the time was over"}] == list(
        gpu.SECTIONS
    )
