"""The Optuna study of a sweep."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING

import optuna

from analysis import schema
from analysis.mlflow_reader.connect import redact_uri
from pipeline.search.retrying_storage import UNUSABLE_ADVICE, database_reason, is_unusable, open_storage
from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

    from search_spaces.space import Space


def objectives(space: Space, choice: str = "auto") -> dict[str, str]:
    """Return the objectives that a sweep may have and their directions.

    Args:
        space: unconditional systems have no tag accuracy.
        choice: `--objectives`; `auto` is all that the system has.
    """
    chosen = list(schema.OBJECTIVES) if choice == "auto" else choice.split(",")
    if not takes_tags(space):
        chosen = [schema.DISTANCE]
    return {name: direction for name, direction in schema.OBJECTIVES.items() if name in chosen}


def takes_tags(space: Space) -> bool:
    """Return whether the systems of a space take tags."""
    return GanConfig.from_params(space.recipe).conditional


def study_objectives(study: optuna.Study) -> list[str]:
    """Return the names of a study's objectives: distance, or distance and tag accuracy."""
    return list(schema.OBJECTIVES)[: len(study.directions)]


class StoredStudy(optuna.Study):
    """An Optuna study that gives access to its storage.

    Args:
        study_name: an existing study.
        storage: where it is.
        sampler: default: Optuna's own.
    """

    def __init__(self, study_name: str, storage: BaseStorage, sampler: BaseSampler | None = None) -> None:
        super().__init__(study_name, storage, sampler)
        self.storage = storage


def name_objectives(study: optuna.Study, names: Iterable[str]) -> None:
    """Store the names of the objectives, which optuna-dashboard shows instead of ``Objective 0``."""
    names = list(names)
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)


def open_study(
    url: str,
    name: str,
    directions: Iterable[str],
    sampler: BaseSampler | None = None,
    say: Callable[[str], None] | None = None,
) -> StoredStudy:
    """Open the persistent study of a sweep, and create it if it does not exist.

    Args:
        url: database URL.
        name: of the study.
        directions: ``minimize`` or ``maximize``, one per objective.
        sampler: default: Optuna's own.
        say: prints a one-line message when the database stops or resumes answering; default: to stderr.

    Raises:
        UserError: the database does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _named_errors(url):
        storage = open_storage(url, say or _to_stderr)
        optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["minimize" if way == "minimize" else "maximize" for way in directions],
            load_if_exists=True,
        )
        return StoredStudy(name, storage, sampler)


def has_study(url: str, name: str) -> bool:
    """Return whether a database has a study.

    Raises:
        UserError: the database does not answer.
    """
    with _named_errors(url):
        return name in optuna.get_all_study_names(open_storage(url, _to_stderr))


def delete_study(url: str, name: str) -> None:
    """Remove a study with all its trials from its database."""
    optuna.delete_study(study_name=name, storage=open_storage(url, _to_stderr))


@contextlib.contextmanager
def _named_errors(url: str) -> Iterator[None]:
    """Turn errors of opening a study database into one line that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each database driver has its own errors
        advice = f"; {UNUSABLE_ADVICE}" if is_unusable(error) else ""
        raise UserError(
            f"cannot open the study database {redact_uri(url)}: {database_reason(error)}{advice}"
        ) from error


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)
