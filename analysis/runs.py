"""A sweep out of MLflow as one tidy table: pandas in, pandas out.

>>> from analysis.runs import curves, load
>>> sweep = load("faces", home="gansweep-runs")                                     # doctest: +SKIP
>>> sweep.trials.groupby("params.losses.adversarial")["scores.distance"].min()      # doctest: +SKIP
>>> curves(sweep, ["distance"]).pivot(index="kimg", columns="key", values="value")  # doctest: +SKIP

``Sweep.trials`` has one row per trial. Its columns are ``TRIAL_COLUMNS``, then ``scores.<name>`` (of generated
pictures), ``metrics.<name>`` (all else that was logged) and ``params.<dotted.name>``, each with the last value.
``samples`` is the number of generated pictures that the scores were measured on. What a trial never logged is missing
(NaN or NA), as is a metric that was NaN; an infinite metric stays infinite.

``Sweep.repeats`` has one row per confirmation or ablation run, in the order of their keys: ``REPEAT_COLUMNS``, then
scores, metrics and params as above.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
import math
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.cache import Reader
from analysis.connect import open_tracking, readable_errors, shown, tracking_uri
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.store import PAGE, Record, api_runs, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "METRICS", "PARAMS", "REPEAT_COLUMNS", "SCORES", "TRIAL_COLUMNS",
    "Sweep", "curves", "load", "nearest", "open_tracking",
]  # fmt: skip

TRIAL_COLUMNS: Final = (
    "key", "number", "system", "status", "reason", "recipe",
    "config_hash", "fingerprint", "mlflow_run_id", "kimg", "seconds",
    "samples", "started", "ended", "stretches",
)  # fmt: skip
"""Always in ``Sweep.trials``, in this order. ``fingerprint`` is canonical JSON: equal text, comparable scores.
``started`` and ``ended`` are seconds since 1970; ``stretches`` is the JSON of ``schema.STRETCHES``."""
REPEAT_COLUMNS: Final = (
    "key", "kind", "of", "variant", "variant_params", "seed", "budget", *TRIAL_COLUMNS[2:],
)  # fmt: skip
"""Always in ``Sweep.repeats``, in this order. ``variant_params`` is a dict, ``budget`` in kimg, ``seed`` an integer."""
SCORES: Final = "scores."
METRICS: Final = "metrics."
PARAMS: Final = "params."

_DTYPES: Final = {  # what pandas infers -> without, with missing values
    "boolean": ("bool", "boolean"),
    "integer": ("int64", "Int64"),
    "floating": ("float64", "float64"),
    "mixed-integer-float": ("float64", "float64"),
}


def _no_repeats() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=list(REPEAT_COLUMNS))


@dataclass(frozen=True)
class Sweep:
    """One sweep as it was logged. A plain value: it can also be put together by hand, from ``trials`` alone."""

    name: str
    trials: pd.DataFrame
    """One row per trial, in the order of their numbers; the columns are described above."""
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """What the sweep's scores were measured with."""
    space: dict[str, Any] = field(default_factory=dict)
    """``space.json``: dimensions with distributions, defaults, conditions and claims."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``sweep.json``: what the user asked for."""
    data: dict[str, Any] = field(default_factory=dict)
    """``data.json``: counts of the pictures, and the judge's report on held-out real ones."""
    plan: dict[str, Any] = field(default_factory=dict)
    """``plan.json``: what the sweep was expected to cost; empty where nobody asked."""
    mlflow_run_id: str = ""
    """The parent run."""
    tracking: str = ""
    """The tracking URI it was read from."""
    figures: dict[str, float] = field(default_factory=dict)
    """Last metrics of the parent run."""
    repeats: pd.DataFrame = field(default_factory=_no_repeats)
    """One row per run of a confirmation or an ablation; they are no trials."""
    cache: Path | None = None
    """Folder in which what was read of ended runs is kept."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """MLflow run of each trial -> what changes when the run does; empty for one that has not ended."""
    sweeps: tuple[Sweep, ...] = ()
    """Those that were put together into this one; none for a sweep as it was logged."""

    def holding(self, keys: Iterable[str]) -> list[Sweep]:
        """The sweeps whose trials those are: this one, or the ones of them that it was put together from."""
        wanted = set(keys)
        return [one for one in self.sweeps if wanted & set(one.trials["key"])] or [self]

    @property
    def scores(self) -> list[str]:
        """Names of the scores that any trial logged."""
        return _after(SCORES, self.trials)

    @property
    def params(self) -> list[str]:
        """Dotted names of the parameters, those of the space first and in its order."""
        return _after(PARAMS, self.trials)


def load(sweep: str, *, home: Path | str | None = None, tracking: str | None = None) -> Sweep:
    """Read a sweep, last values only (``curves`` reads the histories).

    Ended trials are kept in the cache of the home, where that is there. Without it a database gives some thousand
    trials a second, a server about 600.

    Raises:
        AnalysisUsageError: no such sweep there.
        AnalysisError: no database in that home, or no answer from that server.
    """
    folder = Path(home) if home else None
    uri = tracking_uri(folder, tracking)
    client = open_tracking(folder, tracking)
    with readable_errors(uri):
        parent = _parent(client, sweep, uri)
        files = {
            name: _artifact(client, parent.info.run_id, name)
            for name in (schema.SPACE_FILE, schema.SETTINGS_FILE, schema.DATA_FILE, schema.PLAN_FILE)
        }
        cache = _cache(folder)
        reader = Reader(client, uri, cache)
        runs = reader.records(parent.info.experiment_id, schema.KIND_TRIAL)
        repeats = [run for kind in schema.REPEATS for run in reader.records(parent.info.experiment_id, kind)]
    fingerprint = json.loads(parent.data.tags.get(schema.FINGERPRINT, "{}"))
    return Sweep(
        name=sweep,
        trials=_table(runs, files[schema.SPACE_FILE], fingerprint, _trial, TRIAL_COLUMNS),
        fingerprint=fingerprint,
        space=files[schema.SPACE_FILE],
        settings=files[schema.SETTINGS_FILE],
        data=files[schema.DATA_FILE],
        plan=files[schema.PLAN_FILE],
        mlflow_run_id=parent.info.run_id,
        tracking=uri,
        figures=dict(parent.data.metrics),
        repeats=_table(repeats, files[schema.SPACE_FILE], fingerprint, _repeat, REPEAT_COLUMNS),
        cache=cache,
        versions=versions_of(runs),
    )


def curves(sweep: Sweep, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Read histories of metrics: columns ``key, kimg, name, value``, sorted by the first three.

    From a server that takes one request per trial and metric, so name what is needed; ``None`` reads every score and
    metric. Of a step that was logged twice (a trial that resumed from a checkpoint) the later value is the one it went
    on from.
    """
    import numpy as np
    import pandas as pd

    client = open_tracking(tracking=sweep.tracking)
    if names is None:
        names = _after(SCORES, sweep.trials) + _after(METRICS, sweep.trials)
    keys = dict(zip(sweep.trials["mlflow_run_id"], sweep.trials["key"], strict=True))
    versions = {run: sweep.versions.get(run, "") for run in keys}
    tables = [pd.DataFrame({"key": [], "kimg": np.array([], np.int64), "name": [], "value": []})]
    with readable_errors(sweep.tracking):
        reader = Reader(client, sweep.tracking, sweep.cache)
        for name in names:
            histories = reader.histories(sweep.mlflow_run_id, versions, schema.escaped(name))
            steps = np.concatenate([np.array([], np.int64), *(history.steps for history in histories.values())])
            values = np.concatenate([np.array([]), *(history.values for history in histories.values())])
            columns = {
                "key": np.repeat([keys[run] for run in histories], [len(one.steps) for one in histories.values()]),
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
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _after(prefix: str, table: pd.DataFrame) -> list[str]:
    names = [str(column) for column in table.columns]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


# What MLflow holds -------------------------------------------------------------------------------------------
def _parent(client: MlflowClient, sweep: str, uri: str) -> Run:
    experiment = client.get_experiment_by_name(sweep)
    if experiment is not None and experiment.lifecycle_stage == "active":
        for run in api_runs(client, experiment.experiment_id, schema.KIND_SWEEP):
            return run
    known = _known_sweeps(client)
    there = f"known: {', '.join(known)}" if known else "there is none yet"
    raise AnalysisUsageError(f"no sweep {sweep!r} in {shown(uri)}{nearest(sweep, known)}; {there}")


def _known_sweeps(client: MlflowClient) -> list[str]:
    """Names of experiments that hold a sweep; a shared server holds other people's work as well."""
    experiments = client.search_experiments(max_results=PAGE)
    return sorted(
        experiment.name
        for experiment in experiments
        if next(api_runs(client, experiment.experiment_id, schema.KIND_SWEEP), None) is not None
    )


def _cache(folder: Path | None) -> Path | None:
    """Give the cache of a home; ``None`` where the home is not there, as with a tracking server."""
    home = Path(tracking_uri(folder).removeprefix("sqlite:///")).parent
    return home / "cache" if home.is_dir() else None


def _artifact(client: MlflowClient, run_id: str, name: str) -> dict[str, Any]:
    """Parse a JSON artifact of the parent run, ``{}`` where there is none (an older sweep, a moved home)."""
    if name not in {entry.path for entry in client.list_artifacts(run_id)}:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(client.download_artifacts(run_id, name, folder))
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise AnalysisError(f"{name} of MLflow run {run_id} is not JSON: {error}") from error
    return content


# From runs to a table ----------------------------------------------------------------------------------------
def _table(
    runs: Sequence[Record],
    space: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    identity: Callable[[Mapping[str, str]], dict[str, Any]],
    fixed: Sequence[str],
) -> pd.DataFrame:
    """Runs as rows, in the order of their identities: the first columns, from a run's tags."""
    import pandas as pd

    dimensions = {dimension["name"]: dimension for dimension in space.get("dimensions", ())}
    rows = [identity(run.data.tags) | _row(run, dimensions, fingerprint) for run in runs]
    rows.sort(key=lambda row: row.get("number", row["key"]))
    logged = {name for row in rows for name in row} - set(fixed)
    position = {f"{PARAMS}{name}": index for index, name in enumerate(dimensions)}
    sections = (SCORES, METRICS, PARAMS)

    def order(name: str) -> tuple[int, int, str]:
        section = next(i for i, prefix in enumerate(sections) if name.startswith(prefix))
        return section, position.get(name, len(position)), name

    columns = [*fixed, *sorted(logged, key=order)]
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns})


def _trial(tags: Mapping[str, str]) -> dict[str, Any]:
    return {"key": tags[schema.KEY], "number": int(tags[schema.NUMBER])}


def _repeat(tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": tags[schema.KEY],
        "kind": tags[schema.KIND],
        "of": tags[schema.OF],
        "variant": tags[schema.VARIANT],
        "variant_params": json.loads(tags.get(schema.VARIANT_PARAMS, "{}")),
        "seed": int(tags[schema.SEED]),
        "budget": int(tags[schema.BUDGET]),
    }


def _row(run: Record, dimensions: Mapping[str, Mapping[str, Any]], fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    tags = run.data.tags
    metrics = {schema.unescaped(name): _restored(value) for name, value in run.data.metrics.items()}
    row: dict[str, Any] = {
        "system": tags.get(schema.SYSTEM),
        "status": tags.get(schema.STATUS, schema.RUNNING),
        "reason": tags.get(schema.REASON) or None,
        "recipe": tags.get(schema.RECIPE) == "true",
        "config_hash": tags.get(schema.CONFIG_HASH),
        "fingerprint": _canonical(tags.get(schema.FINGERPRINT), fingerprint),
        "mlflow_run_id": run.info.run_id,
        "kimg": metrics.pop(schema.KIMG, math.nan),
        "seconds": metrics.pop(schema.SECONDS, math.nan),
        "samples": metrics.pop(schema.SAMPLES, math.nan),
        "started": _seconds(run.info.start_time),
        "ended": _seconds(run.info.end_time),
        "stretches": tags.get(schema.STRETCHES),
    }
    row |= {f"{SCORES if schema.is_score(name) else METRICS}{name}": value for name, value in metrics.items()}
    row |= {f"{PARAMS}{name}": _parsed(text, dimensions.get(name)) for name, text in run.data.params.items()}
    return row


def _seconds(milliseconds: int | None) -> float:
    return milliseconds / 1000 if milliseconds else math.nan


def _canonical(tag: str | None, default: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(tag) if tag else default, sort_keys=True)


def _restored(value: float) -> float:
    """Undo what MLflow's database does to infinity: it stores the largest float instead."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _parsed(text: str, dimension: Mapping[str, Any] | None) -> bool | int | float | str:
    """Give a parameter its type back: that of its dimension, else that of the Python literal it looks like."""
    if dimension is not None and dimension["kind"] == "choice":
        # Choices may look alike as literals ("1" and 1.0), but never as the text that was logged.
        for choice in dimension["choices"]:
            if str(choice) == text:
                return choice  # type: ignore[no-any-return]
    value = _literal(text)
    return (
        float(value) if dimension is not None and dimension["kind"] == "float" and not isinstance(value, str) else value
    )


@functools.lru_cache(maxsize=2**16)  # most parameters have few values in a sweep
def _literal(text: str) -> bool | int | float | str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) else text


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Give a column the narrowest type that keeps integers integers, also where values are missing."""
    import pandas as pd

    column = pd.Series(values, dtype=object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in _DTYPES:
        return column.astype(_DTYPES[kind][bool(column.isna().any())])  # type: ignore[call-overload,no-any-return]
    return column
