"""What a sweep shows of itself in MLflow while it runs: ranking, best scores, pictures.

Everything here is for looking at and can be made again, so it never waits in the spool, and no failure of it is one of
the sweep.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from analysis import schema
from analysis.artifacts import Artifacts
from analysis.rank import rank
from analysis.report_data import read_history
from analysis.runs import load
from analysis.summary import description, figures, headline
from pipeline.writer import to_tags
from trainables.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from PIL import Image

    from analysis.rank import Ranking
    from pipeline.tracking import Tracker

EVERY = 60.0
"""Seconds between two refreshes at the least."""
SHARE = 20
"""A refresh that took long is followed by a pause of so many times as long."""
RANKED = 100
"""Runs that carry their rank."""
PICTURES = 10
"""Sample grids beside each other."""


class Showcase:
    """Keeps the pages of a sweep up to date from a thread of its own.

    Args:
        tracker: writes the sweep, and says whether anything has been written since.
        say: tells the user one line.
        every: seconds between two refreshes at the least.
    """

    def __init__(self, tracker: Tracker, say: Callable[[str], None], every: float = EVERY) -> None:
        self.tracker, self.client, self.every, self._say = tracker, tracker.client, every, say
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = tracker.written
        self._told = False

    def start(self) -> None:
        """Begin to refresh in the background."""
        self._thread = threading.Thread(target=self._run, name="gansweep-showcase", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Refresh a last time, unless the server is away."""
        self._ended.set()
        with contextlib.suppress(KeyboardInterrupt):  # who is in a hurry has the sweep itself
            if self._thread is not None:
                self._thread.join(self.every)
            if not len(self.tracker.sender.spool) and not (self._thread and self._thread.is_alive()):
                self.refresh()

    def refresh(self) -> bool:
        """Bring the pages up to date; whether that worked. What does not is said once."""
        self._seen = self.tracker.written
        try:
            self._refresh()
        except Exception as error:  # MLflow, its databases and artifact stores, a figure: none may end a sweep
            if not self._told:
                self._told = True
                self._say(f"tracking: pictures and ranking in MLflow are not up to date ({first_line(error)})")
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
        ranking = rank(load(self.tracker.sweep, tracking=self.client.tracking_uri), allow_mixed=True)
        parent, now = self.tracker.parent, int(time.time() * 1000)
        values = headline(ranking)
        step = int(values["total_kimg"])
        self.client.log_batch(
            parent,
            metrics=[Metric(name, value, now, step) for name, value in values.items()],
            tags=to_tags({"mlflow.note.content": description(ranking)}),
        )
        mark_ranks(self.client, self.tracker.experiment, ranking)
        for name, content in _drawn(ranking).items():
            # One at a time and in memory: a picture is there as a whole or not at all.
            self.client.log_image(parent, content, artifact_file=f"{schema.FIGURES_FOLDER}/{name}")


def mark_ranks(client: MlflowClient, experiment: str, ranking: Ranking) -> None:
    """Tag the first trials with their ranks and the best as champion, and no others: only what has changed."""
    first = ranking.trials[ranking.trials["rank"].notna()].head(RANKED)
    places = zip(first["mlflow_run_id"], first["rank"], strict=True)
    wanted = {str(run): {schema.RANK: str(place)} for run, place in places}
    if ranking.best is not None:
        wanted[str(first["mlflow_run_id"].iloc[0])][schema.CHAMPION] = "true"
    for name in (schema.RANK, schema.CHAMPION):
        marked = client.search_runs([experiment], f"tags.`{name}` LIKE '%'", max_results=1000)
        known = {run.info.run_id: run.data.tags[name] for run in marked}
        for run in known:
            if name not in wanted.get(run, {}):
                client.delete_tag(run, name)
        for run, tags in wanted.items():
            if name in tags and known.get(run) != tags[name]:
                client.set_tag(run, name, tags[name])


def _drawn(ranking: Ranking) -> dict[str, Image.Image]:
    """The figures of a sweep as pictures."""
    from matplotlib.figure import Figure
    from PIL import Image

    artifacts = Artifacts(ranking.sweep)
    first = ranking.trials[ranking.trials["rank"].notna()].head(PICTURES)
    samples = {str(key): artifacts.last_sample(str(run)) for key, run in first[["key", "mlflow_run_id"]].to_numpy()}
    shown = {key: picture for key, picture in samples.items() if picture is not None}
    history, _ = read_history(ranking, [schema.DISTANCE])
    found: dict[str, Image.Image] = {}
    for name, one in figures(ranking, history, shown).items():
        if isinstance(one, Figure):
            file = io.BytesIO()
            one.savefig(file, dpi=110, format="png")
            found[name] = Image.open(file)
        else:
            found[name] = one
    return found
