"""Early failure of trials: collapsed generators, and discriminators that have won.

The rules are applied at evaluations and read recorded results only: nothing is read from the device, and a trial that
resumes from a checkpoint is treated as if it had never stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Results = Sequence[Mapping[str, Any]]

WINDOW = 0.2
"""Share of the budget for which a failure must persist, so that a slow start does not count as a collapse. The two
rungs, at a ninth and a third of the budget, are 0.22 of it apart."""
COLLAPSED = 0.01
"""Share of the diversity of real images below which a generator has collapsed. One image per tag has 0. The blurs of
generators that have only begun to learn have 0.2 to 0.5, or 0.07 after the first few dozen steps with a critic (C);
images that differ in their mean colours alone have 0.016."""
WON = 0.9
"""Share of the discriminator's updates at the floor of its loss, on real and on generated images, from which it has
won. A discriminator that still learns leaves the floor whenever its generator improves."""


def early_failure(results: Results, max_kimg: float, rules: Sequence[str]) -> str:
    """Return in one line why a trial should stop; ``""`` if it may continue.

    A trial that has used its budget never fails early: its scores show how good it is.

    Args:
        results: results of the trial's evaluations so far, oldest first.
        max_kimg: the trial's budget in its own real images.
        rules: the names in ``RULES`` to apply.
    """
    if not results or results[-1]["kimg"] >= max_kimg:
        return ""
    return next(filter(None, (RULES[name](results, WINDOW * max_kimg) for name in rules)), "")


def parse_rules(text: str) -> tuple[str, ...]:
    """Parse names of rules, such as ``collapse,won`` or ``none``.

    Raises:
        UsageError: a name is unknown.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if names == ("none",):
        return ()
    if not set(names) <= set(RULES):
        raise UsageError(f"--end-hopeless is {text!r}; allowed: none, or one or more of {','.join(RULES)}")
    return names


def _collapse(results: Results, window: float) -> str:
    """Return a reason if the generator drew one image, or one per tag, at evaluations that span the window."""
    # Prefer the diversity within tags: one image per tag looks diverse over all tags together.
    name = next((name for name in ("tag_diversity", "diversity") if name in results[-1]), "")
    streak = []
    for result in reversed(results):
        if not result.get(name, 1.0) < COLLAPSED:
            break
        streak.append(result)
    if not streak or streak[0]["kimg"] - streak[-1]["kimg"] < window:
        return ""
    return (
        f"collapsed: {name} {streak[0][name]:.3f} of that of real images, below {COLLAPSED:g} from "
        f"{streak[-1]['kimg']} to {streak[0]['kimg']} kimg"
    )


def _won(results: Results, window: float) -> str:
    """Return a reason if the discriminator's loss was at its floor over the window; a critic's loss has no floor."""
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
"""Rules by the names that ``--end-hopeless`` takes: results and a window in kimg -> the reason, or ``""``."""
