"""A GAN's configuration, and its flat dotted parameters."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin, get_type_hints

from trainables.config.checks import find_faults
from trainables.config.sections import Parts
from trainables.errors import UsageError, nearest, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainables.config.sections import Value

ADDED = frozenset({
    "channels", "generator.upsampling", "losses.penalty_every", "generator.max_width", "discriminator.max_width",
    "losses.penalty_decay", "losses.penalty_final_share", "optimizer.final_share", "optimizer.beta2_final",
    "training.ema_halflife", "training.augment_probability", "training.augment_schedule",
    "training.augment_target", "training.augment_kimg",
})  # fmt: skip
"""Parameters that version 0.1.0 did not have. At their defaults they are left out of ``GanConfig.hash``, so that the
configurations of earlier sweeps keep their hashes; a default must therefore mean what 0.1.0 did."""


@dataclass(frozen=True)
class GanConfig(Parts):
    """One configuration of one system at one image size.

    ``system`` names its recipe; the sections define everything that is built.

    Raises:
        UsageError: a value is out of range, or the combination cannot be built.
    """

    def __post_init__(self) -> None:
        for name, value in self.to_params().items():
            _check(name, value)
        upsampling_steps(self.image_size)
        for fault in find_faults(self, _defaults()):
            raise UsageError(fault)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> GanConfig:
        """Build from flat dotted parameters; missing ones take the field's default."""
        sections: dict[str, dict[str, Any]] = {}
        top: dict[str, Any] = {}
        for name, value in params.items():
            known = coerce(name, value)
            section, _, inner = name.rpartition(".")
            (sections.setdefault(section, {}) if section else top)[inner] = known
        hints = get_type_hints(cls)
        return cls(**top, **{name: hints[name](**values) for name, values in sections.items()})

    def hash(self) -> str:
        """Return 12 hex digits that identify the configuration; searchers repeat configurations."""
        params = {name: coerce(name, value) for name, value in self.to_params().items()}  # 2 and 2.0 are one value
        for name in ADDED:
            if params[name] == _defaults()[name]:
                del params[name]
        return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:12]


def upsampling_steps(image_size: int) -> tuple[int, int]:
    """Return ``(base, steps)`` with ``image_size == base * 2**steps`` and base 4 to 7, the networks' smallest map.

    Raises:
        UsageError: there is no such pair, e.g. for 50 px; names the nearest valid sizes.
    """
    for base in (4, 5, 6, 7):
        steps = math.log2(image_size / base)
        if steps.is_integer() and steps >= 1:
            return base, int(steps)
    low, high = _bounds()["image_size"]
    sizes = (base << steps for base in (4, 5, 6, 7) for steps in range(1, 7))
    fitting = sorted((size for size in sizes if low <= size <= high), key=lambda s: (abs(s - image_size), s))
    raise UsageError(
        f"image_size is {image_size}; the networks double 4, 5, 6 or 7 pixels, "
        f"so the nearest sizes are {fitting[0]} and {fitting[1]}"
    )


@cache
def parameter_types() -> dict[str, Any]:
    """Type of every flat parameter: ``int``, ``float``, ``bool`` or a ``Literal`` of names."""
    types: dict[str, Any] = {}
    for name, hint in get_type_hints(GanConfig).items():
        if dataclasses.is_dataclass(hint):
            types |= {f"{name}.{inner}": kind for inner, kind in get_type_hints(hint).items()}
        else:
            types[name] = hint
    return types


@cache
def _bounds() -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    hints = get_type_hints(GanConfig)
    for field in dataclasses.fields(GanConfig):
        hint = hints[field.name]
        inner = (
            [(f"{field.name}.{f.name}", f) for f in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []
        )
        for name, leaf in [(field.name, field), *inner]:
            if "low" in leaf.metadata:
                found[name] = (leaf.metadata["low"], leaf.metadata["high"])
    return found


@cache
def _defaults() -> dict[str, Value]:
    sections = {name: hint for name, hint in get_type_hints(GanConfig).items() if dataclasses.is_dataclass(hint)}
    top = {field.name: cast("Value", field.default) for field in dataclasses.fields(GanConfig)}
    inner = {
        f"{name}.{field.name}": cast("Value", field.default)
        for name, hint in sections.items()
        for field in dataclasses.fields(hint)
    }
    return {name: value for name, value in top.items() if name not in sections} | inner


def require_known(name: str) -> None:
    """Raise ``UsageError`` for an unknown parameter name; suggests the nearest one."""
    if name not in parameter_types():
        known = parameter_types()
        raise UsageError(
            f"unknown parameter {name!r}{nearest(name, known) or '; `gansweep spaces NAME` lists the known ones'}"
        )


def coerce(name: str, value: Any) -> Value:
    """Convert a value to the parameter's type; text from a command line is parsed.

    Raises:
        UsageError: the name is unknown, or the value is not of the type.
    """
    require_known(name)
    kind = parameter_types()[name]
    if get_origin(kind) is Literal:
        known: dict[str, Value] = {str(one): one for one in get_args(kind)}
        if isinstance(value, str) and value in known:
            return known[value]
        if type(value) is int and value in known.values():
            return value
        raise UsageError(f"{name} is {shortened(value)}; allowed: {', '.join(known)}{nearest(shortened(value), known)}")
    if kind is bool:
        named = {"true": True, "false": False}.get(shortened(value).strip("'").lower())
        if named is None:
            raise UsageError(f"{name} is {shortened(value)}; allowed: true, false")
        return named
    try:
        number = float(value)
        if isinstance(value, bool) or math.isnan(number) or (kind is int and number != int(number)):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} is {shortened(value)}; {wanted} is needed") from None
    return int(number) if kind is int else number


def _check(name: str, value: Value) -> None:
    coerced = coerce(name, value)
    if type(coerced) is not type(value) and not (isinstance(value, int) and isinstance(coerced, float)):
        raise UsageError(f"{name} is {shortened(value)}; give it as {coerced!r}")
    low, high = _bounds().get(name, (-math.inf, math.inf))
    if not isinstance(value, str) and not low <= value <= high:
        raise UsageError(f"{name} is {value}; allowed: {low:g} to {high:g}")
