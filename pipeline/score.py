"""Two folders of pictures compared: what ``gansweep score`` does. No sweep is needed."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.home import Home
from pipeline.progress import clock
from pipeline.score_tags import AskedTags, judge_tags, open_judge, read_asked, read_real
from trainables.data.defects import Defect, defects_by_kind
from trainables.errors import UsageError, UserError
from trainables.scoring.comparison import LEAST, PictureSet, compare
from trainables.scoring.faces import open_cascade
from trainables.scoring.features import open_extractor
from trainables.scoring.folders import list_pictures, measure_pictures
from trainables.scoring.tag_report import draw_confusions
from trainables.scoring.tagger_report import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.options import ScoreOptions
    from trainables.scoring.comparison import FeatureScores
    from trainables.scoring.faces import FaceDetector
    from trainables.scoring.features import Extractor
    from trainables.scoring.folders import FolderFeatures
    from trainables.scoring.tag_report import TagReport
    from trainables.scoring.tagger import Judge


@dataclass
class Stages:
    """On a terminal a bar with the time left for each stage, and everywhere one line when it has ended."""

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @contextlib.contextmanager
    def __call__(self, text: str) -> Iterator[Callable[[float, float], None]]:
        """Run one stage; call what it gives with (done, all)."""
        began = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
        shown = Progress(
            *columns, TimeRemainingColumn(), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        with shown as bar:
            task = bar.add_task(text, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        self.console.print(f"{text}: {clock(time.monotonic() - began)}", soft_wrap=True, markup=False)


@dataclass(frozen=True)
class _Tools:
    """What both folders are measured with."""

    extractor: Extractor
    detector: FaceDetector | None
    device: str
    cache: Path | None


@dataclass(frozen=True)
class _Judged:
    judge: Judge
    report: TagReport
    known: AskedTags
    asked: AskedTags


def score_folders(options: ScoreOptions, stages: Stages | None = None) -> dict[str, Any]:
    """Compare ``options.fake`` with ``options.real``.

    Returns:
        The contract of ``score --json``: ``scores`` and ``intervals`` by name, ``fingerprint``; further ``floor`` (the
        same scores of real pictures against real ones), ``counts``, ``sizes``, ``tags`` (class by class), ``judge``,
        ``defects`` of either folder by kind, ``warnings``. A score that nothing is known of is ``None``.

    Raises:
        UsageError: options that are impossible or do not belong together.
        UserError: folders, weights, cascades or tags that cannot be used.
    """
    _check(options)
    stages = stages or Stages()
    tools = _open_tools(options)
    real, fake = _measure_both(options, tools, stages)
    judged = _judge(options, tools, real, fake, stages) if options.tags else None
    with stages("scores"):
        compared = compare(
            _as_set(real, judged.known.labels if judged else None),
            _as_set(fake, judged.asked.labels if judged else None),
            distance=tools.extractor.score,
            infinity=options.fid_infinity,
            seed=options.seed,
        )
    return _assemble(options, tools, real, fake, compared, judged)


def _as_set(measured: FolderFeatures, labels: NDArray[np.int64] | None) -> PictureSet:
    contents = np.unique(np.array(measured.hashes), return_inverse=True)[1].astype(np.int64)
    if not contents.any():
        raise UserError(f"all {len(measured)} pictures of {measured.files[0].parent} are the same; nothing to score")
    return PictureSet(measured.features, contents, labels)


def _check(options: ScoreOptions) -> None:
    if options.confusions is not None and not options.tags:
        raise UsageError("--confusions draws what --tags judges; give --tags, too")
    if options.confusions is not None and options.confusions.suffix.lower() != ".png":
        raise UsageError(f"--confusions is {options.confusions}; it is written as .png")
    if options.samples is not None and options.samples < LEAST:
        raise UsageError(f"--samples is {options.samples}; allowed: {LEAST} or more")
    if not 0 <= options.seed < 2**31:
        raise UsageError(f"--seed is {options.seed}; allowed: 0 to {2**31 - 1}")


def _open_tools(options: ScoreOptions) -> _Tools:
    """Mistakes in what to measure with show before any picture is read."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    home = Home.find(options.home)
    return _Tools(
        open_extractor(options.extractor, options.weights, device, resize=options.resize, precision=options.precision),
        open_cascade(options.cascade) if options.cascade else None,
        device,
        home.cache if options.home is not None or home.root.is_dir() else None,
    )


def _measure_both(options: ScoreOptions, tools: _Tools, stages: Stages) -> tuple[FolderFeatures, FolderFeatures]:
    with stages(f"contents of {options.real}") as progress:
        real = list_pictures(options.real, progress)
    with stages(f"contents of {options.fake}") as progress:
        fake = list_pictures(options.fake, progress)
    if options.samples is not None:
        if options.samples > len(fake.files):
            raise UsageError(f"--samples is {options.samples}; {options.fake} has {len(fake.files)} pictures")
        fake = fake.sample(options.samples, options.seed)
    for pictures in (real, fake):  # before what takes long
        _require_enough(pictures.path, len(pictures.files), "pictures", len(pictures.defects))
    found = []
    for pictures, cache in ((real, tools.cache), (fake, None)):
        with stages(f"features of {len(pictures.files)} pictures of {pictures.path}") as progress:
            measured = measure_pictures(
                pictures, tools.extractor, detector=tools.detector, cache=cache, progress=progress
            )
        _require_enough(pictures.path, len(measured), "readable pictures", len(measured.defects))
        found.append(measured)
    return found[0], found[1]


def _require_enough(folder: Path, count: int, kind: str, left_out: int) -> None:
    if count < LEAST:
        bad = f" ({left_out} files are left out)" if left_out else ""
        raise UserError(f"{folder} has {count} {kind}{bad}; at least {LEAST} are needed")


def _judge(options: ScoreOptions, tools: _Tools, real: FolderFeatures, fake: FolderFeatures, stages: Stages) -> _Judged:
    with stages(f"tags of {options.real}"):
        images = read_real(options.real, fake.sizes, tools.cache)
        known = read_asked(options.real, real.files, images.vocabulary)
        asked = read_asked(options.fake, fake.files, images.vocabulary)
    with stages("judge of the tags, from real pictures only") as progress:
        judge = open_judge(images, tools.cache, tools.device, lambda share, text: progress(share, 1.0))
    with stages(f"judging {len(fake)} pictures"):
        report = judge_tags(judge, options.fake, fake.files, asked.labels, images.size)
    if options.confusions is not None:
        try:
            draw_confusions(report, options.confusions)
        except OSError as error:
            raise UserError(f"cannot write {options.confusions}: {error.strerror or error}") from error
    return _Judged(judge, report, known, asked)


def _assemble(
    options: ScoreOptions,
    tools: _Tools,
    real: FolderFeatures,
    fake: FolderFeatures,
    compared: FeatureScores,
    judged: _Judged | None,
) -> dict[str, Any]:
    scores, intervals, floor = dict(compared.scores), dict(compared.intervals), dict(compared.floor)
    if fake.faces is not None and real.faces is not None:
        scores["face_rate"], floor["face_rate"] = float(fake.faces.mean()), float(real.faces.mean())
        intervals["face_rate"] = wilson(int(fake.faces.sum()), len(fake))
    if judged:
        scores |= judged.report.scores()
        intervals |= judged.report.intervals()
    extractor = tools.extractor
    return {
        "scores": scores,
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "fingerprint": {
            "extractor": extractor.name,
            "score": extractor.score,
            "weights": extractor.weights,
            "resize": extractor.resize,
            "precision": extractor.precision,
            "samples": len(fake),
            "reference": len(real),
            "data": real.fingerprint,
            "fake": fake.fingerprint,
            "judge": judged.judge.fingerprint if judged else "none",
            "cascade": tools.detector.fingerprint if tools.detector else "none",
            "seed": options.seed,
        },
        "floor": floor,
        "counts": {"real": len(real), "fake": len(fake), "floor": compared.floor_samples},
        "sizes": {name: _named(one.sizes) for name, one in (("real", real), ("fake", fake))},
        "tags": judged.report.to_json(judged.judge.report) if judged else None,
        "judge": judged.judge.report.to_json() if judged else None,
        "defects": {
            "real": _counted((*real.defects, *(judged.known.defects if judged else ()))),
            "fake": _counted((*fake.defects, *(judged.asked.defects if judged else ()))),
        },
        "warnings": [*_warnings(options, tools, real, fake, judged), *compared.warnings],
    }


def _warnings(
    options: ScoreOptions, tools: _Tools, real: FolderFeatures, fake: FolderFeatures, judged: _Judged | None
) -> list[str]:
    said = []
    if options.real.resolve() == options.fake.resolve():
        said.append("both folders are the same: the scores compare it with itself")
    elif real.fingerprint == fake.fingerprint:
        said.append("both folders hold the same pictures")
    if options.samples is not None and len(fake) < options.samples:
        said.append(f"{options.samples - len(fake)} of the {options.samples} drawn samples could not be read")
    first, second = (next(iter(_named(one.sizes))) for one in (real, fake))
    if first != second:
        said.append(
            f"real pictures are mostly {first} and drawn ones {second}: the scores measure that, too; "
            "resize the real ones first where only the drawing should count"
        )
    if judged and tools.cache is None:
        said.append("the judge was not kept; with --home DIR the next run finds it")
    return said


def _named(sizes: dict[tuple[int, int], int]) -> dict[str, int]:
    return {f"{width}x{height}": count for (width, height), count in sizes.items()}


def _counted(defects: tuple[Defect, ...]) -> dict[str, dict[str, Any]]:
    kinds = defects_by_kind({(one.kind, one.name): one for one in reversed(defects)}.values())
    return {kind: {"count": len(names), "names": names} for kind, names in kinds.items()}
