"""Read a sweep from MLflow as one tidy pandas table.

>>> from analysis.mlflow_reader.sweep import curves, load
>>> sweep = load("faces", home="gansweep-runs")                                     # doctest: +SKIP
>>> sweep.trials.groupby("params.losses.adversarial")["scores.distance"].min()      # doctest: +SKIP
>>> curves(sweep, ["distance"]).pivot(index="kimg", columns="key", values="value")  # doctest: +SKIP

``Sweep.trials`` has one row per trial. Its columns are ``TRIAL_COLUMNS``, then ``scores.<name>`` (of generated
images), ``metrics.<name>`` (all else that was logged) and ``params.<dotted.name>``, each with the last value.
``samples`` is the number of generated images that the scores were measured on. Values that a trial never logged are
missing (NaN or NA), as are NaN metrics; an infinite metric stays infinite.

``Sweep.repeats`` has one row per confirmation or ablation run, in the order of their keys: ``REPEAT_COLUMNS``, then
scores, metrics and params as above.
"""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.bulk import PAGE, api_runs, versions_of
from analysis.mlflow_reader.cache import Reader
from analysis.mlflow_reader.connect import (
    home_folder,
    open_tracking,
    readable_errors,
    redact_uri,
    require_reachable,
    tracking_uri,
)
from analysis.mlflow_reader.run_table import (
    METRICS,
    PARAMS,
    REPEAT_COLUMNS,
    SCORES,
    TRIAL_COLUMNS,
    make_table,
    repeat_identity,
    trial_identity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient

__all__ = [
    "METRICS", "PARAMS", "REPEAT_COLUMNS", "SCORES", "TRIAL_COLUMNS",
    "Sweep", "curves", "load", "nearest", "open_tracking",
]  # fmt: skip


def _no_repeats() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=list(REPEAT_COLUMNS))


@dataclass(frozen=True, repr=False)
class Sweep:
    """One sweep as it was logged. It can also be built by hand, from ``trials`` alone."""

    name: str
    trials: pd.DataFrame
    """One row per trial, in the order of their numbers; the columns are described above."""
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """Fingerprint of the sweep's scores."""
    space: dict[str, Any] = field(default_factory=dict)
    """``space.json``: dimensions with distributions, defaults, conditions and claims."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``sweep.json``: the settings of the sweep."""
    data: dict[str, Any] = field(default_factory=dict)
    """``data.json``: counts of the images, and the tag classifier's report on held-out real ones."""
    plan: dict[str, Any] = field(default_factory=dict)
    """``plan.json``: the planned cost of the sweep; empty if it was not planned."""
    mlflow_run_id: str = ""
    """The parent run."""
    status: str = ""
    """Of the parent run: one of ``schema.STATUSES``; ``running`` also if the driver was killed."""
    is_deleted: bool = False
    """The parent run was deleted in MLflow; its trials are there."""
    tracking: str = ""
    """The tracking URI it was read from."""
    figures: dict[str, float] = field(default_factory=dict)
    """Last metrics of the parent run."""
    repeats: pd.DataFrame = field(default_factory=_no_repeats)
    """One row per run of a confirmation or an ablation; they are no trials."""
    cache: Path | None = None
    """Folder in which histories of ended runs are cached."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions by MLflow run id, which change when the run does; empty for a run that has not ended."""
    sweeps: tuple[Sweep, ...] = ()
    """The sweeps that were merged into this one; empty for a sweep as it was logged."""

    def __repr__(self) -> str:
        counts = self.trials["status"].value_counts()
        states = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"Sweep({self.name!r}: {len(self.trials)} trials{f', {states}' if states else ''})"

    def holding(self, keys: Iterable[str]) -> list[Sweep]:
        """Return the sweeps that contain these trials: this one, or some of the sweeps merged into it."""
        wanted = set(keys)
        return [sweep for sweep in self.sweeps if wanted & set(sweep.trials["key"])] or [self]

    @property
    def scores(self) -> list[str]:
        """Names of the scores that any trial logged."""
        return _names_below(SCORES, self.trials)

    @property
    def params(self) -> list[str]:
        """Dotted names of the parameters, those of the space first and in its order."""
        return _names_below(PARAMS, self.trials)


def load(sweep: str, *, home: Path | str | None = None, tracking: str | None = None) -> Sweep:
    """Read a sweep, last values only (``curves`` reads the histories).

    A database is read directly, without importing MLflow: some thousand trials a second, a server about 600. Histories
    of ended trials are cached in the home, because a server takes one request for each.

    Raises:
        AnalysisUsageError: no such sweep there.
        AnalysisError: no database in that home, or no answer from that server.
    """
    folder = Path(home) if home else None
    uri = tracking_uri(folder, tracking)
    require_reachable(uri)
    cache = _cache(folder)
    with readable_errors(uri):
        reader = Reader(uri, cache)
        parent = reader.parent(sweep)
        if parent is None:
            raise _missing_sweep_error(reader.client, sweep, uri, home_folder(folder))
        files = {
            name: reader.json_file(parent, name)
            for name in (schema.SPACE_FILE, schema.SETTINGS_FILE, schema.DATA_FILE, schema.PLAN_FILE)
        }
        runs = reader.records(parent.experiment_id, schema.KIND_TRIAL)
        repeats = [run for kind in schema.REPEATS for run in reader.records(parent.experiment_id, kind)]
    fingerprint = json.loads(parent.tags.get(schema.FINGERPRINT, "{}"))
    return Sweep(
        name=sweep,
        trials=make_table(runs, files[schema.SPACE_FILE], fingerprint, trial_identity, TRIAL_COLUMNS),
        fingerprint=fingerprint,
        space=files[schema.SPACE_FILE],
        settings=files[schema.SETTINGS_FILE],
        data=files[schema.DATA_FILE],
        plan=files[schema.PLAN_FILE],
        mlflow_run_id=parent.run_id,
        status=parent.tags.get(schema.STATUS, ""),
        is_deleted=parent.is_deleted,
        tracking=uri,
        figures=dict(parent.metrics),
        repeats=make_table(repeats, files[schema.SPACE_FILE], fingerprint, repeat_identity, REPEAT_COLUMNS),
        cache=cache,
        versions=versions_of(runs),
    )


def curves(sweep: Sweep, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Read histories of metrics: columns ``key, kimg, name, value``, sorted by the first three.

    A server takes one request per trial and metric, so pass only the names that are needed; ``None`` reads every score
    and metric. If a step was logged twice (by a trial that resumed from a checkpoint), the later value is used.
    """
    import numpy as np
    import pandas as pd

    require_reachable(sweep.tracking)
    if names is None:
        names = _names_below(SCORES, sweep.trials) + _names_below(METRICS, sweep.trials)
    keys = dict(zip(sweep.trials["mlflow_run_id"], sweep.trials["key"], strict=True))
    versions = {run: sweep.versions.get(run, "") for run in keys}
    tables = [pd.DataFrame({"key": [], "kimg": np.array([], np.int64), "name": [], "value": []})]
    with readable_errors(sweep.tracking):
        reader = Reader(sweep.tracking, sweep.cache)
        for name in names:
            histories = reader.histories(sweep.mlflow_run_id, versions, schema.escaped(name))
            steps = np.concatenate([np.array([], np.int64), *(history.steps for history in histories.values())])
            values = np.concatenate([np.array([]), *(history.values for history in histories.values())])
            columns = {
                "key": np.repeat(
                    [keys[run] for run in histories], [len(logged.steps) for logged in histories.values()]
                ),
                "kimg": steps,
                "name": name,
                "value": np.where(np.abs(values) >= sys.float_info.max, np.copysign(np.inf, values), values),
            }
            tables.append(pd.DataFrame(columns))
    table = pd.concat([table for table in tables if len(table)] or tables)
    table = table.drop_duplicates(["key", "kimg", "name"], keep="last")
    return table.sort_values(["key", "kimg", "name"], ignore_index=True)


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the closest known name, or ``""`` when nothing is close."""
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return f" (did you mean {by_folded[close[0]]!r}?)" if close else ""


def _names_below(prefix: str, table: pd.DataFrame) -> list[str]:
    names = [str(column) for column in table.columns]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


# What MLflow holds -------------------------------------------------------------------------------------------
def _missing_sweep_error(client: MlflowClient, sweep: str, uri: str, home: Path) -> AnalysisError:
    """Say why there is no run of a sweep: it was removed for good, there is no trial yet, or no such sweep."""
    experiment = client.get_experiment_by_name(sweep)
    if experiment is not None and experiment.lifecycle_stage == "active":
        runs = api_runs(client, experiment.experiment_id, schema.KIND_TRIAL)
        if next(runs, None) is not None:
            return AnalysisError(
                f"the own MLflow run of sweep {sweep!r} is gone from {redact_uri(uri)}, its trials are there; "
                f"`gansweep resume {sweep}` makes the run again"
            )
    if (home / "trials" / sweep / "sweep.json").is_file():
        if (server := tracked_elsewhere(home / "trials" / sweep / "sweep.json")) not in (None, uri):
            return AnalysisUsageError(
                f"no sweep {sweep!r} in {redact_uri(uri)}: it was started with --tracking {redact_uri(str(server))}; "
                "pass the same option"
            )
        return AnalysisUsageError(
            f"sweep {sweep!r} has no trial in {redact_uri(uri)}: its driver is preparing it, or ended while preparing; "
            f"`gansweep status {sweep}` shows which, `gansweep resume {sweep}` continues"
        )
    known = known_sweeps(client)
    there = f"known: {', '.join(known)}" if known else "there is none yet"
    return AnalysisUsageError(f"no sweep {sweep!r} in {redact_uri(uri)}{nearest(sweep, known)}; {there}")


def tracked_elsewhere(settings: Path) -> str | None:
    """Return the tracking URI that a sweep was started with; ``None`` if it was its home's own, or is unreadable."""
    try:
        return str(json.loads(settings.read_text(encoding="utf-8"))["started_with"]["tracking"] or "") or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_sweeps(client: MlflowClient) -> list[str]:
    """Return the names of experiments that hold a sweep; a shared server also has unrelated experiments."""
    experiments = client.search_experiments(max_results=PAGE)
    return sorted(
        experiment.name
        for experiment in experiments
        if any(
            next(api_runs(client, experiment.experiment_id, schema.KIND_SWEEP, deleted=deleted), None) is not None
            for deleted in (False, True)
        )
    )


def _cache(folder: Path | None) -> Path | None:
    """Return the cache of a home; ``None`` if the home does not exist, as with a tracking server."""
    home = home_folder(folder)
    return home / "cache" if home.is_dir() else None
