"""Turn the words of a command line into the options of a command; every error is one line."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from pipeline.cli.settings_file import expand_settings_file
from pipeline.repeats.options import RepeatOptions
from pipeline.sweep.options import HELP_GROUPS, ResumeOptions, RunOptions
from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REGISTRY = ConstructorRegistry()
_SCALARS = {int: "whole number", float: "number", str: "text", Path: "path"}
_GROUPED = (RunOptions, ResumeOptions, RepeatOptions)
"""Commands with so many options that their help lists them in groups."""
_CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)


def parse_command(words: Sequence[str], kinds: Mapping[str, type]) -> Any:
    """Parse a command line.

    Args:
        words: the command line without the program's name; none of them print the help.
        kinds: class of the options of each command, by the command's name.

    Returns:
        An instance of the command's class.

    Raises:
        UsageError: an unknown command or option, a missing or a malformed value.
        SystemExit: help or a completion script was printed.
    """
    name, *arguments = words or ("--help",)
    if name in ("-h", "--help") or name.startswith("--tyro-"):  # these need the options of all commands
        commands = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
        description = "Hyperparameter search for tag-conditional image GANs."
        return _run_tyro(Union[commands], [name, *arguments], "gansweep", description)  # noqa: UP007 - of a tuple
    if name not in kinds:
        problem = "expected a command before" if name.startswith("-") else "unknown command"
        raise UsageError(f"{problem} {name!r}{nearest(name, kinds)}; allowed: {', '.join(kinds)}")
    if issubclass(kinds[name], RunOptions):
        arguments = expand_settings_file(arguments)
    kind = kinds[name]
    if issubclass(kind, _GROUPED) and {"-h", "--help"} & set(arguments):
        return _run_tyro(_group_options(kind), ["--help"], f"gansweep {name}", inspect.getdoc(kind))
    return _run_tyro(kind, arguments, f"gansweep {name}")


def _group_options(kind: type) -> type:
    """Return the same options for the help alone: as one dataclass per group, which tyro titles by its field."""
    hints, texts = get_type_hints(kind, include_extras=True), _option_texts(kind)
    annotated: Any = Annotated  # of types that are known when it runs
    groups: dict[str, list[Any]] = {title: [] for title in ("", *HELP_GROUPS)}
    titles = {name: title for title, names in HELP_GROUPS.items() for name in names}
    for field in dataclasses.fields(kind):
        described = annotated[hints[field.name], tyro.conf.arg(help=texts[field.name])]
        default = dataclasses.field(default=field.default, kw_only=True)
        groups[titles.get(field.name, "")].append((field.name, described, default))
    nested = [
        (title.replace(" ", "_"), annotated[dataclasses.make_dataclass("Group", fields), tyro.conf.arg(name=title)])
        for title, fields in groups.items()
        if title and fields
    ]
    return dataclasses.make_dataclass(kind.__name__, [*groups[""], *nested])


def _option_texts(kind: type) -> dict[str, str]:
    """Return the text below each field in the source of a dataclass and its bases."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in itertools.pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                texts[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return texts


def _run_tyro(kind: Any, words: Sequence[str], program: str, description: str | None = None) -> Any:
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return tyro.cli(
                kind,
                prog=program,
                description=description,
                args=words,
                config=_CONFIG,
                registry=_REGISTRY,
            )
    except SystemExit as error:
        if error.code in (0, None):
            raise
        text = _join_box(message.getvalue())
        raise UsageError(_unrecognized_message(text, kind, program) or text) from None


def _unrecognized_message(text: str, kind: Any, program: str) -> str | None:
    """Name the first word that tyro does not recognize as what it is; ``None`` if the message is of another kind.

    tyro calls everything an unrecognized option: commands, values and surplus arguments too.
    """
    rest = text.partition("Unrecognized options: ")[2]
    if not rest:
        return None
    words, _, hints = rest.partition("; ")
    word = words.split()[0].rstrip(",")
    commands = hints.partition("; ")[0].partition("Available subcommands: ")[2]
    if commands and not word.startswith("-"):
        return f"unknown command {word!r} of `{program}`{nearest(word, commands.split(', '))}; allowed: {commands}"
    if word.startswith("-"):
        return f"unknown option {word.partition('=')[0]}{nearest(word, _options(kind))}; `{program} --help` lists all"
    return f"unexpected argument {word!r}; `{program} --help` lists what it takes"


def _options(kind: Any) -> list[str]:
    """Return the options of a command and of its subcommands, positional arguments left out."""
    options: list[str] = []
    for field in dataclasses.fields(kind):
        if "subcommand" in str(field.type):
            options += [name for command in get_args(get_type_hints(kind)[field.name]) for name in _options(command)]
        elif "Positional" not in str(field.type):
            options.append(f"--{field.name.replace('_', '-')}")
    return options


def _join_box(box: str) -> str:
    """Join tyro's message into one line.

    tyro prints its errors in a titled box whose sections are separated by rules, and offers neither an exception nor
    an option that gives the text alone. The title and the hint at ``--help`` are left out.
    """
    _, *rows, _ = [line.strip("│╭╮╰╯|+ ") for line in box.strip().splitlines()]
    sections: list[list[str]] = [[]]
    for row in rows:
        if row and not row.strip("─-"):
            sections.append([])
        else:
            sections[-1].append(row)
    texts = [text for section in sections if (text := " ".join(filter(None, section)))]
    return "; ".join(text for text in texts if not text.startswith("For full helptext"))


@_REGISTRY.primitive_rule
def _describe_scalar(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Name the value and what is expected in errors, and leave ``None`` out of the help of optional values."""
    for kind, text in _SCALARS.items():
        if info.type in (kind, kind | None):
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar=kind.__name__.upper(),
                instance_from_str=partial(_parse_scalar, kind, text),
                is_instance=partial(_is_optional, kind),
                str_from_instance=lambda value: [str(value)],
            )
    return None


def _is_optional(kind: type, value: object) -> bool:
    return value is None or isinstance(value, kind)


def _parse_scalar(kind: type, text: str, words: list[str]) -> Any:
    try:
        return kind(words[0])
    except ValueError:
        raise ValueError(f"{words[0]!r} is not a {text}") from None
