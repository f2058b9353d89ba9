"""The results of a sweep's trials as MLflow has them, for a scheduler that is rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from analysis.connect import readable_errors
from pipeline.writer import trial_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient


def recorded_results(client: MlflowClient, experiment: str) -> list[tuple[str, int, dict[str, float]]]:
    """Key, kimg and objectives of every result of a sweep's trials, in the order in which they were logged.

    Raises:
        AnalysisError: a tracking server that does not answer.
    """
    found: dict[tuple[str, int], tuple[int, dict[str, float]]] = {}
    with readable_errors("tracking"):
        for key, run in trial_runs(client, experiment).items():
            for name in schema.OBJECTIVES:
                for point in client.get_metric_history(run.info.run_id, name):
                    # A point that was logged twice counts from the first time.
                    place = (key, point.step)
                    when, values = found.setdefault(place, (point.timestamp, {}))
                    found[place] = (min(when, point.timestamp), {name: point.value} | values)
    # No trial goes backwards, whatever the clock of the machine did in between.
    times: dict[str, int] = {}
    ordered = []
    for (key, kimg), (when, values) in sorted(found.items(), key=lambda item: item[0]):
        times[key] = max(when, times.get(key, when))
        ordered.append((times[key], key, kimg, values))
    return [(key, kimg, values) for _, key, kimg, values in sorted(ordered, key=lambda item: item[:3])]
