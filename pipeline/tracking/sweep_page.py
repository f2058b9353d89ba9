"""Keep a sweep's MLflow pages up to date while it runs: ranking, best scores, images.

All of it is derived and can be recreated, so it is not queued in the outbox, and its failures never end a sweep.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from analysis import schema
from analysis.mlflow_reader.artifacts import Artifacts
from analysis.mlflow_reader.sweep import load
from analysis.plots.grids import stack
from analysis.ranking.ranking import rank
from analysis.reports.data import read_history
from analysis.reports.mlflow_page import (
    description,
    experiment_description,
    figures,
    headline,
    ranking_content,
    runs_view,
)
from pipeline.tracking.mlflow_writer import NOTE, description_tags, to_tags, write_table
from trainables.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from PIL import Image

    from analysis.ranking.ranking import Ranking
    from pipeline.tracking.tracker import Tracker

EVERY = 60.0
"""Minimum number of seconds between two refreshes."""
SHARE = 20
"""Minimum pause after a refresh, as a multiple of its duration."""
RANKED = 100
"""Maximum number of runs tagged with their rank."""
MAX_GRIDS = 10
"""Maximum number of sample grids side by side."""


class SweepPage:
    """Keeps the pages of a sweep up to date from a background thread.

    Args:
        tracker: of the sweep; it also counts writes, so that unchanged pages are not refreshed.
        say: prints a one-line message.
        every: minimum number of seconds between two refreshes.
        min_tag_accuracy: floor of the champion's tag accuracy; default: the sweep's setting.
    """

    def __init__(
        self,
        tracker: Tracker,
        say: Callable[[str], None],
        every: float = EVERY,
        *,
        min_tag_accuracy: float | None = None,
    ) -> None:
        self.min_tag_accuracy = min_tag_accuracy
        self.tracker, self.client, self.every, self._say = tracker, tracker.client, every, say
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = tracker.written
        self._failure_reported = False

    def start(self) -> None:
        """Start to refresh in the background."""
        self._thread = threading.Thread(target=self._run, name="gansweep-showcase", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Refresh a last time, unless the server is unreachable."""
        self._ended.set()
        with contextlib.suppress(KeyboardInterrupt):  # the results are complete without the pages
            if self._thread is not None:
                self._thread.join(self.every)
            if not len(self.tracker.sender.spool) and not (self._thread and self._thread.is_alive()):
                self.refresh()

    def refresh(self) -> bool:
        """Update the pages and return whether that succeeded; a failure is reported once."""
        self._seen = self.tracker.written
        try:
            self._refresh()
        except Exception as error:  # no error of MLflow, its stores or a figure may end a sweep
            if not self._failure_reported:
                self._failure_reported = True
                self._say(f"tracking: images and ranking in MLflow are not up to date ({first_line(error)})")
            return False
        return True

    def _run(self) -> None:
        pause = self.every
        while not self._ended.wait(pause):
            began = time.monotonic()
            if self.tracker.written != self._seen:
                self.refresh()
            pause = max(self.every, SHARE * (time.monotonic() - began))

    def _refresh(self) -> None:
        sweep = load(self.tracker.sweep, tracking=self.client.tracking_uri)
        ranking = rank(sweep, allow_mixed=True, min_tag_accuracy=self.min_tag_accuracy)
        drawn: list[str] = []
        try:
            for name, content in _drawn(ranking).items():
                # One at a time and from memory, so that no image is ever incomplete.
                self.client.log_image(self.tracker.parent, content, artifact_file=f"{schema.FIGURES_FOLDER}/{name}")
                drawn.append(name)
        finally:  # a figure that fails costs no text
            self._write_texts(ranking, drawn)

    def _write_texts(self, ranking: Ranking, drawn: list[str]) -> None:
        """Write the scores, descriptions, table and ranks; the description shows the figures that were drawn."""
        parent, now = self.tracker.parent, int(time.time() * 1000)
        values = headline(ranking)
        current = self.client.get_run(parent).data
        step, logged = int(values["total_kimg"]), current.metrics
        self.client.log_batch(
            parent,
            metrics=[Metric(name, value, now, step) for name, value in values.items() if logged.get(name) != value],
            tags=to_tags(description_tags(self.tracker.sweep, current.tags, description(ranking, parent, drawn))),
        )
        self._describe_experiment(ranking, drawn)
        write_table(self.client, parent, schema.RANKING_FILE, ranking_content(ranking))
        mark_ranks(self.client, self.tracker.experiment, ranking)

    def _describe_experiment(self, ranking: Ranking, drawn: list[str]) -> None:
        """Set the experiment's description and the view of its table of runs, where they changed."""
        experiment = self.tracker.experiment
        current = self.client.get_experiment(experiment).tags
        text = experiment_description(ranking, experiment, self.tracker.parent, drawn)
        tags = {f"mlflow.sharedViewState.{schema.RUNS_VIEW}": json.dumps(runs_view(ranking))}
        if current.get(NOTE) != text:
            tags |= description_tags(self.tracker.sweep, current, text)
        for name, value in tags.items():
            if current.get(name) != value:
                self.client.set_experiment_tag(experiment, name, value)


def mark_ranks(client: MlflowClient, experiment: str, ranking: Ranking) -> None:
    """Tag the first trials with their ranks, and the winner as champion; write only tags that changed."""
    first = ranking.trials[ranking.trials["rank"].notna()].head(RANKED)
    ranks = zip(first["mlflow_run_id"], first["rank"], strict=True)
    expected = {str(run): {schema.RANK: str(rank)} for run, rank in ranks}
    if ranking.best is not None:
        expected.setdefault(str(ranking.winner["mlflow_run_id"]), {})[schema.CHAMPION] = "true"
    for name in (schema.RANK, schema.CHAMPION):
        marked = client.search_runs([experiment], f"tags.`{name}` LIKE '%'", max_results=1000)
        current = {run.info.run_id: run.data.tags[name] for run in marked}
        for run in current:
            if name not in expected.get(run, {}):
                client.delete_tag(run, name)
        for run, tags in expected.items():
            if name in tags and current.get(run) != tags[name]:
                client.set_tag(run, name, tags[name])


def _drawn(ranking: Ranking) -> dict[str, Image.Image]:
    """Draw the figures of a sweep as images."""
    from matplotlib.figure import Figure
    from PIL import Image

    artifacts = Artifacts(ranking.sweep)
    ranked = ranking.trials[ranking.trials["rank"].notna()]
    first = ranked.sort_values("key", key=lambda keys: keys != ranking.best, kind="stable").head(MAX_GRIDS)
    samples = {str(key): artifacts.last_sample(str(run)) for key, run in first[["key", "mlflow_run_id"]].to_numpy()}
    grids = {key: image for key, image in samples.items() if image is not None}
    history, _ = read_history(ranking, [schema.DISTANCE])
    images: dict[str, Image.Image] = {}
    for name, figure in figures(ranking, history, grids).items():
        if isinstance(figure, Figure):
            file = io.BytesIO()
            figure.savefig(file, dpi=110, format="png")
            images[name] = Image.open(file)
        else:
            images[name] = figure
    shown = [images[name] for name in ("front.png", "best-samples.png") if name in images]
    return images | ({schema.OVERVIEW_FILE: stack(shown)} if len(shown) > 1 else {})
