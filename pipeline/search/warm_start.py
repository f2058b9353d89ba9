"""Start a search from the best configurations of earlier sweeps (``--like``)."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.mlflow_reader.sweep import PARAMS, load
from analysis.ranking.ranking import rank
from trainables.config import coerce
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.home import Home
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space

PRIOR_FILE: Final = "prior.json"
"""Beside the settings of a sweep: what it took from earlier ones, so that it continues whatever happens to these."""
SHARE: Final = 3
"""The best one in this many complete trials of a sweep is taken."""


@dataclass(frozen=True)
class Prior:
    """The best configurations of earlier sweeps: regions to search first, not scores."""

    configurations: tuple[dict[str, Any], ...]
    """Values of the dimensions that the spaces share, the best first; those of several sweeps in turn."""
    winners: int
    """The first so many are the winners of the sweeps."""
    notes: tuple[str, ...] = ()
    """What was taken from each sweep, one line each."""


def resolve_prior(settings: SweepSettings, space: Space, home: Home) -> Prior | None:
    """Return what a sweep takes from those of ``--like``: as it is saved with the sweep, else read from them.

    Returns:
        ``None`` without the option.

    Raises:
        UsageError: no such sweep, or one without a dimension of the space.
        UserError: a sweep without complete trials, or a file that cannot be read.
    """
    if settings.like is None:
        return None
    path = home.sweep(settings.name) / PRIOR_FILE
    if path.is_file():
        return _read(path)
    names = list(dict.fromkeys(name.strip() for name in settings.like.split(",") if name.strip()))
    if not names:
        raise UsageError(f"--like is {settings.like!r}; give the names of earlier sweeps, separated by commas")
    return take_from([load(name, home=home.root, tracking=settings.tracking) for name in names], space)


def keep_prior(prior: Prior | None, folder: Path) -> None:
    """Save the prior in the sweep's folder, unless it is there."""
    if prior is not None and not (folder / PRIOR_FILE).is_file():
        write_json(folder / PRIOR_FILE, asdict(prior))


def take_from(sweeps: Sequence[Sweep], space: Space) -> Prior:
    """Take the best configurations of sweeps into a space.

    Raises:
        UsageError: a sweep without a dimension of the space.
        UserError: a sweep without complete trials.
    """
    taken = [_take_one(sweep, space) for sweep in sweeps]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*(one.configurations for one in taken)))
    notes = tuple(note for one in taken for note in one.notes)
    return Prior(tuple(one for one in in_turn if one is not None), len(sweeps), notes)


def _take_one(sweep: Sweep, space: Space) -> Prior:
    varied = {dimension["name"] for dimension in sweep.space.get("dimensions", ())}
    shared = [dimension.name for dimension in space.dimensions if dimension.name in varied]
    if not shared:
        raise UsageError(
            f"--like {sweep.name}: it varied no dimension of space {space.name} ({_some(sorted(varied))}); name a "
            "sweep of a similar space, or omit it"
        )
    complete = _complete_params(sweep)
    if not complete:
        raise UserError(
            f"--like {sweep.name}: none of its {len(sweep.trials)} trials is complete; name a sweep with complete "
            "trials, or omit it"
        )
    best = complete[: max(1, len(complete) // SHARE)]
    outside: Counter[str] = Counter()
    configurations = tuple(_Transfer(params, shared, space, outside).taken for params in best)
    used = {name for values in configurations for name in values}
    note = (
        f"--like {sweep.name}: {len(used)} of {len(space.dimensions)} dimensions, from the best {len(best)} of "
        f"{len(complete)} complete trials"
    )
    if outside:
        note += f"; values outside this space are left out: {_some([f'{n} of {name}' for name, n in outside.items()])}"
    return Prior(configurations, 1, (note,))


def _complete_params(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the configurations of the complete trials: the winner, then those that may win, then others."""
    if sweep.trials.empty:
        return []
    ranking = rank(sweep, allow_mixed=True)
    rows = ranking.trials[(ranking.trials["status"] == schema.COMPLETE) & ranking.trials["rank"].notna()]
    rule = ranking.rule
    order = sorted(
        rows.to_dict("records"),
        key=lambda row: (row["key"] != ranking.best, rule is not None and not rule.may_win(row["key"])),
    )
    return [
        {str(name).removeprefix(PARAMS): value for name, value in row.items() if str(name).startswith(PARAMS)}
        for row in order
    ]


class _Transfer:
    """Trial stand-in that answers with an earlier configuration's values where the space has them.

    Sampling from it asks for active dimensions alone. Others of its values were not what earned the scores.
    """

    def __init__(self, params: Mapping[str, Any], shared: Sequence[str], space: Space, outside: Counter[str]) -> None:
        self._params, self._shared, self._recipe, self._outside = params, shared, space.recipe, outside
        self.taken: dict[str, Any] = {}
        space.sample(self)

    def suggest_int(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self._take(name, lambda value: low <= value <= high)

    suggest_float = suggest_int

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._take(name, lambda value: value in choices)

    def _take(self, name: str, fits: Any) -> Any:
        value = self._params.get(name)
        if name not in self._shared or value is None or (isinstance(value, float) and math.isnan(value)):
            return self._recipe[name]
        with contextlib.suppress(UsageError):  # a choice of an earlier version
            value = coerce(name, value)
            if fits(value):
                self.taken[name] = value
                return value
        self._outside[name] += 1
        return self._recipe[name]


def _read(path: Path) -> Prior:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        configurations = tuple(
            {name: coerce(name, value) for name, value in one.items()} for one in saved["configurations"]
        )
        return Prior(configurations, int(saved["winners"]), tuple(map(str, saved["notes"])))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, UsageError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _some(names: Sequence[str], shown: int = 6) -> str:
    return f"{', '.join(names[:shown]) or 'nothing'}{', ...' if len(names) > shown else ''}"
