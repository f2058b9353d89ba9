"""Types of the settings' values, and the texts that stand for them on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from trainables.errors import UsageError, shortened


def matches_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a setting's type; JSON's lists and texts stand for tuples and paths."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(matches_type(one, inner[0]) for one in value)
    if inner:  # a union
        return any(matches_type(value, one) for one in inner)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {float: (int, float), Path: (str, Path)}.get(kind, kind))


def describe_type(kind: Any) -> str:
    """What an option accepts, for messages."""
    if get_origin(kind) is Literal:
        return f"allowed: {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return 'expected a dictionary such as {"NAME": VALUE}, or a list of texts such as "NAME=VALUE"'
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Path: "a path"}
    return f"expected {' or '.join(words.get(one, 'None') for one in get_args(kind) or (kind,))}"


def option_name(name: str) -> str:
    """Return the command line's name of a setting."""
    return f"--{name.replace('_', '-')}"


def format_pair(option: str, parameter: object, value: Any) -> str:
    """Write an entry of a dictionary as the command line does: ``generator.width=32``, ``k=lo:hi``, ``k=a,b``."""
    separator = {"range": ":", "choices": ","}.get(option)
    plural = isinstance(value, (list, tuple))
    if separator is None and not isinstance(value, (str, int, float)):
        raise UsageError(f"--{option} {parameter} is {shortened(value)}; expected a number, text, True or False")
    if separator is not None and (not plural or not value or (option == "range" and len(value) != 2)):
        expected = "a pair (low, high)" if option == "range" else "a list of values"
        raise UsageError(f"--{option} {parameter} is {shortened(value)}; expected {expected}")
    values = value if separator is not None else [value]
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    return f"{parameter}={(separator or '').join(texts)}"


def parse_pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Split the texts of a repeated option at their first ``=``.

    Raises:
        UsageError: a text without a name or a value, or one that sets the size or the channels of images.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(f"--{option} {text!r}; expected --{option} NAME=VALUE")
        if name.strip() in ("image_size", "channels"):
            own = option_name(name.strip())
            raise UsageError(f"--{option} {text}: all trials of a sweep have images of one kind; use {own}")
        pairs.append((name.strip(), value.strip()))
    return pairs
