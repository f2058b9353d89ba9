"""Which trials are beyond hope: collapsed generators, and discriminators that have won.

Judged from the recorded results alone, at evaluations: nothing is read from the device for it, and a trial that goes on
from a checkpoint is judged as if it had never stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Results = Sequence[Mapping[str, Any]]

WINDOW = 0.2
"""Share of the budget that a state must have lasted: a slow start is no collapse. The stretch between the two rungs, a
ninth and a third of the budget, is 0.22 of it."""
COLLAPSED = 0.01
"""Of the diversity of real pictures. One picture per tag has 0. Blurs of generators that have only just begun to learn
have 0.2 to 0.5, or 0.07 after the first few dozen steps with a critic (C); by their mean colours alone, 0.016."""
WON = 0.9
"""Share of the discriminator's updates at the floor of its loss, on real pictures and on generated ones. One that still
learns from its generator leaves the floor whenever that improves."""


def hopeless(results: Results, max_kimg: int, rules: Sequence[str]) -> str:
    """Why a trial need not go on, in one line; ``""`` where it may.

    A trial that has used its budget is not judged: its scores say how good it is.

    Args:
        results: of its evaluations so far, in their order.
        max_kimg: its budget.
        rules: names of ``RULES`` that apply.
    """
    if not results or results[-1]["kimg"] >= max_kimg:
        return ""
    return next(filter(None, (RULES[name](results, WINDOW * max_kimg) for name in rules)), "")


def parse_rules(text: str) -> tuple[str, ...]:
    """Names of rules from ``collapse,won`` or ``none``.

    Raises:
        UsageError: another name.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if names == ("none",):
        return ()
    if not set(names) <= set(RULES):
        raise UsageError(f"--end-hopeless is {text!r}; allowed: none, or one or more of {','.join(RULES)}")
    return names


def _collapse(results: Results, window: float) -> str:
    """The generator draws one picture, or one per tag, at two evaluations or more that span the window."""
    # Within tags where there are any: one picture per tag looks diverse over all of them.
    name = next((name for name in ("tag_diversity", "diversity") if name in results[-1]), "")
    streak = []
    for result in reversed(results):
        if not result.get(name, 1.0) < COLLAPSED:
            break
        streak.append(result)
    if not streak or streak[0]["kimg"] - streak[-1]["kimg"] < window:
        return ""
    return (
        f"collapsed: {name} {streak[0][name]:.3f} of that of real pictures, below {COLLAPSED:g} from "
        f"{streak[-1]['kimg']} to {streak[0]['kimg']} kimg"
    )


def _won(results: Results, window: float) -> str:
    """The discriminator's loss lies at its floor for the length of the window; a critic's has none."""
    names = ("d_at_floor_real", "d_at_floor_fake")
    end = results[-1]["kimg"]
    sums = dict.fromkeys(names, 0.0)
    starts = [0, *(result["kimg"] for result in results[:-1])]
    for start, result in zip(reversed(starts), reversed(results), strict=True):
        if not all(name in result for name in names):
            return ""
        for name in names:
            sums[name] += result[name] * (result["kimg"] - start)
        if end - start >= window:
            break
    else:
        return ""
    shares = [total / (end - start) for total in sums.values()]
    if min(shares) < WON:
        return ""
    return (
        f"the discriminator has won: its loss was at its floor on {shares[0]:.0%} of the real and {shares[1]:.0%} of "
        f"the generated batches from {start} to {end} kimg"
    )


RULES: Mapping[str, Callable[[Results, float], str]] = {"collapse": _collapse, "won": _won}
"""What ``--end-hopeless`` names: whether it holds over a window in kimg, in words."""
