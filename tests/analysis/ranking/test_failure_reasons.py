"""Counting why trials ended."""

from __future__ import annotations

from analysis.ranking.failure_reasons import group_reasons


def test_reasons_that_differ_in_figures_alone_are_of_one_kind() -> None:
    kinds = group_reasons([
        "diverged: d_loss is nan after 3.1 kimg", "stopped by the scheduler at 11 kimg", "crashed: OSError: full",
        "stopped by the scheduler at 33 kimg", "the discriminator has won: 99% of the real",
        "stopped by the scheduler at 33 kimg", "diverged: g_loss exceeded 10000 after 0.2 kimg", "killed", "killed",
    ])  # fmt: skip
    assert [(kind.name, kind.trials, kind.different) for kind in kinds] == [
        ("stopped by the scheduler", 3, 2), ("diverged", 2, 2), ("killed", 2, 1), ("crashed", 1, 1),
        ("the discriminator has won", 1, 1),
    ]  # fmt: skip
    assert str(kinds[0]) == "stopped by the scheduler (e.g. stopped by the scheduler at 33 kimg)"
    assert str(kinds[2]) == "killed"


def test_no_reasons_have_no_kinds() -> None:
    assert group_reasons([]) == []
