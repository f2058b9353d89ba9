"""``--precision auto``: what it chooses on which processor, and that a sweep keeps the choice."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pipeline.cluster.precision import choose_precision, has_bfloat16
from pipeline.search.compatibility import require_combination
from pipeline.settings import SweepSettings
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.saved_settings import keep_automatic
from search_spaces.registry import SPACES, find_space
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def use_machine(monkeypatch: pytest.MonkeyPatch, *, amx: bool, gpu: bool = False) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx, "avx512_bf16": True})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(gpu))


def chosen(tmp_path: Path, space: str = "acgan", **options: Any) -> tuple[str, str]:
    return choose_precision(SweepSettings(space, tmp_path, "s", precision="auto", **options), find_space(space))


def test_bf16_needs_the_processor_and_a_proven_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_machine(monkeypatch, amx=True)
    assert has_bfloat16()
    assert {space for space in SPACES if chosen(tmp_path, space)[0] == "bf16"} == {"acgan", "dcgan", "lightgan"}
    precision, note = chosen(tmp_path, "srresnet_acgan")
    assert precision == "float32"
    assert "srresnet_acgan" in note
    assert "r3gan" in chosen(tmp_path, "anything")[1]  # a space needs all its systems proven
    use_machine(monkeypatch, amx=False)
    assert not has_bfloat16()
    precision, note = chosen(tmp_path)
    assert precision == "float32"
    assert "AMX" in note


@pytest.mark.parametrize(
    ("options", "gpu", "word"),
    [
        ({}, True, "GPU"),
        ({"gpus_per_trial": "0.5"}, True, "GPU"),
        ({"fuse": "4"}, False, "--fuse 4"),
        ({"address": "auto"}, False, "cluster"),
    ],
)
def test_elsewhere_float32_stays(
    options: dict[str, Any], gpu: bool, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_machine(monkeypatch, amx=True, gpu=gpu)
    precision, note = chosen(tmp_path, **options)
    assert precision == "float32"
    assert word in note
    assert chosen(tmp_path, gpus_per_trial="0")[0] == "bf16"  # trials on the cores of a machine that has a GPU
    assert chosen(tmp_path, fuse="auto", gpus_per_trial="0")[0] == "bf16"  # trials on cores are not fused


def test_a_given_precision_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_machine(monkeypatch, amx=True)
    settings = SweepSettings("r3gan", tmp_path, "s", precision="bf16", address="auto")
    assert choose_precision(settings, find_space("r3gan")) == ("bf16", "")
    settings = dataclasses.replace(settings, precision="float32")
    assert choose_precision(settings, find_space("r3gan")) == ("float32", "")


def test_the_choice_is_saved_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_machine(monkeypatch, amx=True)
    settings = SweepSettings("acgan", tmp_path, "s", precision="auto", home=tmp_path)
    sweep = resolve_sweep(settings)
    assert (sweep.settings.precision, sweep.training.precision) == ("bf16", "bf16")
    assert "bf16" in sweep.precision_note
    saved = tmp_path / "settings.json"
    saved.write_text(json.dumps({"settings": sweep.settings.to_json()}), encoding="utf-8")
    use_machine(monkeypatch, amx=False)
    assert resolve_sweep(settings).training.precision == "float32"
    assert resolve_sweep(keep_automatic(settings, saved)).training.precision == "bf16"
    other = dataclasses.replace(settings, precision="float32")
    assert keep_automatic(other, saved).precision == "float32"
    use_machine(monkeypatch, amx=True)
    saved.write_text(json.dumps({"settings": {"scheduler": "asha"}}), encoding="utf-8")  # before there was a choice
    assert resolve_sweep(keep_automatic(settings, saved)).training.precision == "float32"


def test_fused_trials_may_leave_the_precision_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_machine(monkeypatch, amx=True)
    settings = SweepSettings("acgan", tmp_path, "s", precision="auto", fuse="4", home=tmp_path)
    sweep = resolve_sweep(settings)
    require_combination(sweep.settings, sweep.space)
    with pytest.raises(UsageError, match="bf16"):
        require_combination(dataclasses.replace(settings, precision="bf16"), sweep.space)
