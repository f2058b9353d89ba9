"""Read the results of a sweep's trials from MLflow, to rebuild a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors
from pipeline.tracking.mlflow_writer import trial_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient


def recorded_results(client: MlflowClient, experiment: str) -> list[tuple[str, int, dict[str, float]]]:
    """Return key, kimg and objectives of every result of a sweep's trials, in the order in which they were logged.

    Raises:
        AnalysisError: the tracking server does not answer.
    """
    results: dict[tuple[str, int], tuple[int, dict[str, float]]] = {}
    with readable_errors("tracking"):
        for key, run in trial_runs(client, experiment).items():
            for name in schema.OBJECTIVES:
                for point in client.get_metric_history(run.info.run_id, name):
                    # A point that was logged twice keeps its first timestamp.
                    position = (key, point.step)
                    timestamp, values = results.setdefault(position, (point.timestamp, {}))
                    results[position] = (min(timestamp, point.timestamp), {name: point.value} | values)
    # Timestamps of a trial must not decrease, even if the machine's clock was set back.
    times: dict[str, int] = {}
    ordered = []
    for (key, kimg), (timestamp, values) in sorted(results.items(), key=lambda item: item[0]):
        times[key] = max(timestamp, times.get(key, timestamp))
        ordered.append((times[key], key, kimg, values))
    return [(key, kimg, values) for _, key, kimg, values in sorted(ordered, key=lambda item: item[:3])]
