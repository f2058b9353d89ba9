"""Declarative search spaces: dimensions with a distribution, a default, a condition and the claim they test.

Define-by-run sampling, the command line's listings and the analysis all use this description. Claims are numbered and
lettered as in the reports' list of claims, e.g. ``1 (A)``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from trainables.config import GanConfig, Value, coerce, require_known
from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Condition = dict[str, tuple[Value, ...]]


def holds(condition: Condition, params: Mapping[str, Any]) -> bool:
    """Return whether every parameter of the condition has one of its values."""
    return all(params.get(name) in allowed for name, allowed in condition.items())


class Suggest(Protocol):
    """The methods of an Optuna trial that a space samples from."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Draw a whole number."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Draw one of the choices."""


@dataclass(frozen=True)
class Dimension:
    """A parameter that varies: either ``choices`` or ``low..high`` (``log`` for a logarithmic scale).

    ``when`` maps other parameters to the values for which this one has an effect; for other values it keeps its default
    and is not sampled.
    """

    name: str
    default: Value
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    when: Condition = field(default_factory=dict)
    claim: str = ""
    """The claim of the reports that the dimension tests, or ``ours`` if the reports make none."""

    def __post_init__(self) -> None:
        values = self.choices or (self.low, self.high)
        object.__setattr__(self, "default", coerce(self.name, self.default))
        if self.choices:
            object.__setattr__(self, "choices", tuple(coerce(self.name, value) for value in values))
        elif self.low is None or self.high is None or not self.low <= self.high:
            raise UsageError(f"{self.name}: range {self.low}:{self.high}; a low and a high end are needed, low first")
        elif self.log and self.low <= 0:
            raise UsageError(f"{self.name}: range {self.low}:{self.high} on a log scale; it must begin above 0")
        _require_inside(self, self.default)
        when = {name: tuple(coerce(name, value) for value in values) for name, values in self.when.items()}
        object.__setattr__(self, "when", when)

    @property
    def kind(self) -> str:
        """``choice``, ``int`` or ``float``."""
        if self.choices:
            return "choice"
        return "int" if isinstance(self.default, int) else "float"

    def active(self, params: Mapping[str, Any]) -> bool:
        """Return whether the condition holds for these parameters."""
        return holds(self.when, params)

    def require(self, value: Any) -> Value:
        """Convert a value to this parameter's type.

        Raises:
            UsageError: a value of another type, or one that the dimension does not have.
        """
        known = coerce(self.name, value)
        _require_inside(self, known)
        return known

    def sample(self, trial: Suggest) -> Value:
        """Draw a value."""
        if self.choices:
            return cast("Value", trial.suggest_categorical(self.name, self.choices))
        assert self.low is not None
        assert self.high is not None
        if self.kind == "int":
            return trial.suggest_int(self.name, math.ceil(self.low), math.floor(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def to_json(self) -> dict[str, Any]:
        """Return the description that `spaces --json` prints."""
        shape: dict[str, Any] = (
            {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}
        )
        when = {name: list(values) for name, values in self.when.items()}
        return {
            "name": self.name,
            "kind": self.kind,
            **shape,
            "log": self.log,
            "default": self.default,
            "when": when,
            "claim": self.claim,
        }


@dataclass(frozen=True)
class Space:
    """A complete recipe and the dimensions that vary. A dimension comes after those that its condition names."""

    name: str
    summary: str
    recipe: Mapping[str, Value]
    dimensions: tuple[Dimension, ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    """Sources of values in the recipe that the report does not give."""
    implied: tuple[tuple[Condition, Mapping[str, Value]], ...] = ()
    """Values implied by a condition, e.g. a gradient penalty by a Wasserstein critic, or networks by a system. While
    the condition holds, the implied parameters are inactive, unless they are not dimensions at all. A value that the
    user fixes takes precedence unless the resulting network is invalid."""

    def __post_init__(self) -> None:
        complete = GanConfig.from_params(self.recipe).to_params()
        object.__setattr__(self, "recipe", complete)
        seen: set[str] = set()
        for dimension in self.dimensions:
            if dimension.name in seen or complete[dimension.name] != dimension.default:
                raise UsageError(
                    f"space {self.name}: dimension {dimension.name} appears twice, or its default "
                    f"{dimension.default!r} is not the recipe's {complete[dimension.name]!r}"
                )
            seen.add(dimension.name)

    def sample(self, trial: Suggest) -> dict[str, Value]:
        """Sample complete parameters: active dimensions are drawn, all others keep the recipe's value."""
        params = dict(self.recipe)
        for dimension in self.dimensions:
            if dimension.active(params):
                params[dimension.name] = dimension.sample(trial)
                params = self.settled(params)
        return params

    def settled(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return the parameters with their implied values; of two conditions that hold, the later takes precedence."""
        complete = dict(params)
        for condition, values in self.implied:
            complete.update(values if holds(condition, complete) else {})
        return complete

    def active_defaults(self) -> dict[str, Value]:
        """Return the recipe's values of the active dimensions: the parameters of trial 0."""
        return {d.name: self.recipe[d.name] for d in self.dimensions if d.active(self.recipe)}

    def dimension(self, name: str) -> Dimension:
        """Return the dimension called ``name``.

        Raises:
            UsageError: there is no such dimension.
        """
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        names = [dimension.name for dimension in self.dimensions]
        unknown = f"space {self.name} has no dimension {name!r}{nearest(name, names)}"
        raise UsageError(f"{unknown}; `gansweep spaces {self.name}` lists them")

    def with_default(self, name: str, value: Any) -> Space:
        """Change a value of the recipe (``--set``) and the values it implies; a dimension of that name still varies."""
        known = coerce(name, value)
        space = self if name in {dimension.name for dimension in self.dimensions} else self._freed(name, known)
        for dimension in space.dimensions:
            if dimension.name == name:
                _require_inside(dimension, known)
        space = space._with_recipe({**space.recipe, name: known})
        if space.recipe[name] != known:
            raise UsageError(
                f"{name} is {known!r}; the rest of the recipe of space {self.name} implies {space.recipe[name]!r}. "
                "Change that first, for instance the system or the loss"
            )
        return space

    def without(self, name: str, value: Any) -> Space:
        """Fix a value (``--fix``): change it in the recipe and remove its dimension."""
        rest = tuple(dimension for dimension in self.dimensions if dimension.name != name)
        return dataclasses.replace(self, dimensions=rest).with_default(name, value)

    def with_range(self, name: str, low: Any, high: Any) -> Space:
        """Set a range (``--range``). A recipe value outside it moves to the nearer end."""
        old = self._varying(name)
        if isinstance(old.default, (bool, str)):
            raise UsageError(f"{name} takes names, not a range; use --choices {name}=...")
        ends = (float(cast("float", coerce(name, low))), float(cast("float", coerce(name, high))))
        default = coerce(name, min(max(old.default, ends[0]), ends[1]))
        new = dataclasses.replace(old, choices=(), low=ends[0], high=ends[1], default=default)
        return self._replace(new)

    def with_choices(self, name: str, choices: Iterable[Any]) -> Space:
        """Set choices (``--choices``). A recipe value that is not among them is replaced by the first."""
        values = tuple(dict.fromkeys(coerce(name, value) for value in choices))
        if not values:
            raise UsageError(f"no choices for {name}; one or more are needed")
        old = self._varying(name)
        default = old.default if old.default in values else values[0]
        return self._replace(dataclasses.replace(old, choices=values, low=None, high=None, log=False, default=default))

    def _varying(self, name: str) -> Dimension:
        require_known(name)
        if name in ("image_size", "channels"):
            raise UsageError(
                f"{name} cannot vary within a sweep: scores of different images do not compare; use "
                f"--{name.replace('_', '-')}"
            )
        known = {dimension.name: dimension for dimension in self.dimensions}
        default = self.recipe[name]
        return known.get(name) or Dimension(name, default, choices=(default,), claim="added by the user")

    def _replace(self, new: Dimension) -> Space:
        values = [coerce(new.name, value) for value in new.choices or (new.low, new.high)]
        for value in values:
            GanConfig.from_params(self.settled({**self.recipe, new.name: value}))
        if new.name not in [dimension.name for dimension in self.dimensions]:
            freed = self._freed(new.name, *values)
            return freed._with_recipe({**self.recipe, new.name: new.default}, (*self.dimensions, new))
        changed = tuple(new if dimension.name == new.name else dimension for dimension in self.dimensions)
        return self._with_recipe({**self.recipe, new.name: new.default}, changed)

    def _with_recipe(self, recipe: Mapping[str, Value], dimensions: Iterable[Dimension] | None = None) -> Space:
        """Change the recipe and the values it implies; an implied value outside its dimension applies to draws only."""
        dimensions = tuple(self.dimensions if dimensions is None else dimensions)
        settled = self.settled(recipe)
        outside = {d.name: recipe[d.name] for d in dimensions if not _inside(d, settled[d.name])}
        complete = GanConfig.from_params({**settled, **outside}).to_params()
        updated = tuple(
            d if d.default == complete[d.name] else dataclasses.replace(d, default=complete[d.name]) for d in dimensions
        )
        return dataclasses.replace(self, recipe=complete, dimensions=updated)

    def _freed(self, name: str, *values: Value) -> Space:
        """Drop the implied values of a parameter that the user sets, unless one of its values would be invalid then."""
        implied = tuple(
            (condition, {key: value for key, value in implied.items() if key != name})
            if name in implied and all(self._buildable(condition, {**implied, name: value}) for value in values)
            else (condition, implied)
            for condition, implied in self.implied
        )
        return dataclasses.replace(self, implied=implied)

    def _buildable(self, condition: Condition, values: Mapping[str, Value]) -> bool:
        conditions = {name: allowed[0] for name, allowed in condition.items()}
        try:
            GanConfig.from_params({**self.recipe, **conditions, **values})
        except UsageError:
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the description that `spaces --json` prints and the analysis reads."""
        return {
            "name": self.name,
            "summary": self.summary,
            "recipe": dict(self.recipe),
            "notes": dict(self.notes),
            "dimensions": [dimension.to_json() for dimension in self.dimensions],
        }


def without_prose(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of ``to_json`` without summary, notes and claims, whose wording may differ between versions."""
    dimensions = [
        {name: value for name, value in dimension.items() if name != "claim"} for dimension in space["dimensions"]
    ]
    return {"name": space["name"], "recipe": space["recipe"], "dimensions": dimensions}


def _inside(dimension: Dimension, value: Value) -> bool:
    if dimension.choices:
        return value in dimension.choices
    return cast("float", dimension.low) <= cast("float", value) <= cast("float", dimension.high)


def _require_inside(dimension: Dimension, value: Value) -> None:
    if _inside(dimension, value):
        return
    if dimension.choices:
        allowed = ", ".join(map(str, dimension.choices))
        raise UsageError(
            f"{dimension.name} is {value!r}; the space searches {allowed}. Choose one of them, fix it with --fix, "
            "or change them with --choices"
        )
    raise UsageError(
        f"{dimension.name} is {value}; the space searches {dimension.low:g} to {dimension.high:g}. Choose a value "
        "inside, fix it with --fix, or change the range with --range"
    )
