"""Settings of a sweep in a YAML file: ``run --config FILE``, and ``--print-config`` to write one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.setting_values import format_pair, option_name
from pipeline.settings import SweepSettings
from trainables.errors import UsageError, UserError, first_line, nearest, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

_POSITIONAL = "space"
_REPEATABLE = ("set", "fix", "range", "choices")


def expand_settings_file(words: Sequence[str]) -> list[str]:
    """Replace ``--config FILE`` by the options in the file; options in ``words`` take precedence.

    Args:
        words: a command line of ``run`` or ``plan``, without the command.

    Returns:
        A command line without ``--config``; the same one if it has none.

    Raises:
        UsageError: the file has an unknown name, or a value that is no option's.
        UserError: the file cannot be read as YAML.
    """
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    if "--config" not in given:
        return list(words)
    path, rest = _take_option("--config", words)
    values = _read_yaml(Path(path))
    expanded = [] if _has_positional(rest) else [str(values[_POSITIONAL])] if values.get(_POSITIONAL) else []
    for name, value in values.items():
        option = option_name(name)
        if name != _POSITIONAL and value is not None and option not in given:
            expanded += _option_words(option, name, value, path)
    return [*expanded, *rest]


def format_settings(settings: SweepSettings) -> str:
    """Write settings as the YAML that ``--config`` reads, in the order of ``SweepSettings``."""
    import yaml

    public = {name.replace("_", "-"): value for name, value in settings.to_json().items() if name in _names()}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in public.items()}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text


def _names() -> dict[str, bool]:
    """Return the settings that have an option, by name: whether it is a flag."""
    hidden = {"budgets"}
    return {
        field.name: isinstance(field.default, bool)
        for field in dataclasses.fields(SweepSettings)
        if field.name not in hidden
    }


def _take_option(option: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the value of an option and the other words."""
    rest = list(words)
    at = next(index for index, word in enumerate(rest) if word.partition("=")[0] == option)
    _, equals, value = rest.pop(at).partition("=")
    if not equals:
        if at == len(rest):
            raise UsageError(f"{option} needs a file")
        value = rest.pop(at)
    return value, rest


def _has_positional(words: Sequence[str]) -> bool:
    """Whether a word is neither an option nor the value of one."""
    flags = {option_name(name) for name, flag in _names().items() if flag} | {"--json", "--print-config"}
    is_value = False
    for word in words:
        if word.startswith("--"):
            is_value = "=" not in word and word not in flags
        elif is_value:
            is_value = False
        else:
            return True
    return False


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config is {path}: {error.strerror or first_line(error)}; give a YAML file") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"--config {path}: cannot be read as YAML: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: found {type(content).__name__}; expected lines such as `image-size: 64`")
    names = {name.replace("_", "-"): name for name in _names()}
    values: dict[str, Any] = {}
    for given, value in content.items():
        name = str(given).replace("_", "-")
        if name not in names:
            raise UsageError(f"--config {path}: unknown setting {given!r}{nearest(name, names)}")
        if names[name] in values:
            raise UsageError(f"--config {path}: {given} is given twice")
        values[names[name]] = value
    return values


def _option_words(option: str, name: str, value: Any, path: str) -> list[str]:
    if name in _REPEATABLE:
        if isinstance(value, dict):
            value = [format_pair(name, parameter, one) for parameter, one in value.items()]
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UsageError(
                f"--config {path}: {name} is {shortened(value)}; expected a mapping `generator.width: 32`, or a list "
                "of texts `- generator.width=32`"
            )
        return [word for one in value for word in (option, one)]
    if _names()[name]:
        if not isinstance(value, bool):
            raise UsageError(f"--config {path}: {name} is {shortened(value)}; expected true or false")
        return [option] if value else []
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"--config {path}: {name} is {shortened(value)}; expected a number or text")
    return [option, str(value)]
