"""Pictures of one's own through an exported generator that translates: files and folders in, a folder out."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipeline.picture_files import Style, Target
from trainables.data.defects import Defect
from trainables.data.folder import list_files
from trainables.data.images import SUFFIXES, BadImage, load_image
from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, UserError, nearest
from trainables.files import whole_folder
from trainables.pictures import save_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.bundle import Bundle

    Progress = Callable[[int, int], None]

AT_ONCE = 64
"""Pictures held in memory on their way to the folder."""
SHOWN = 8
"""Pictures on a sheet: the first ones, each above its translation."""
_NAMED = 20
_EMPTY = "folder without pictures"


@dataclass(frozen=True)
class Translated:
    """What was translated and where it went, and what could not be."""

    output: Path
    asked: str
    pictures: int
    bad: tuple[Defect, ...]
    passed_over: tuple[Defect, ...]
    """Files of the folders that are no pictures by their names, links that lead out of them, folders without any."""

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {
            "output": str(self.output),
            "to": self.asked,
            "pictures": self.pictures,
            "bad": [asdict(one) for one in self.bad],
            "passed_over": [one.name for one in self.passed_over],
        }

    def summary(self) -> str:
        """A line for what was done, and one for what could not be."""
        lines = [f"translated {_count(self.pictures)} to {self.asked} in {self.output}"]
        empty = [one for one in self.passed_over if one.kind == _EMPTY]
        others = [one for one in self.passed_over if one.kind != _EMPTY]
        if others:
            files = "files that are no pictures" if len(others) > 1 else "file that is no picture"
            lines.append(f"passed over {len(others)} {files}: {_some(others, kinds=False)}")
        if empty:
            lines.append(f"no pictures in {_some(empty, kinds=False)}")
        if self.bad:
            lines.append(f"{_count(len(self.bad))} bad: {_some(self.bad)}")
        return "\n".join(lines)


def translate_files(
    bundle: Bundle,
    inputs: Sequence[Path],
    to: str | None,
    output: Path,
    *,
    sheet: Path | None = None,
    progress: Progress | None = None,
) -> Translated:
    """Translate pictures of any size, of which the centre square is taken as in training, to one set of tags.

    Args:
        bundle: the export.
        inputs: picture files, and folders with pictures anywhere below them.
        to: the class of each target group; of a single group its bare name will do. Nothing in an export sees what a
            picture shows, so there is no other domain to go to by itself.
        output: the folder, which appears as a whole; a picture has its path below its folder there, as .png;
            ``a.jpg`` and ``a.bmp`` beside each other become ``a.jpg.png`` and ``a.bmp.png``.
        sheet: a picture file for the first sources above their translations.
        progress: called with (files done, files in all).

    Raises:
        UsageError: a generator that draws from noise, unknown or missing tags, two pictures of one name.
        UserError: no picture at all, or only bad ones; an output that is not empty or cannot be written.
    """
    bundle.require_translating()
    labels = asked_labels(bundle, to)
    if not Target.check(output, Style()).is_folder:
        raise UsageError(f"-o is {output}; translations go to a folder: a name without suffix")
    target = None if sheet is None else _require_sheet(sheet, output)
    files, passed_over = find_pictures(inputs)
    done: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    bad: list[Defect] = []
    names = list(files)
    try:
        with whole_folder(output) as folder:
            for start in range(0, len(names), AT_ONCE):
                part = {name: files[name] for name in names[start : start + AT_ONCE]}
                done += _translate(bundle, labels, part, folder, bad)[: max(0, SHOWN - len(done))]
                if progress:
                    progress(min(start + AT_ONCE, len(names)), len(names))
            if len(bad) == len(names):
                raise UserError(f"none of {_count(len(bad))} could be read: {_some(bad)}")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error}") from error
    if target is not None:
        target.write_sheet(np.concatenate([np.stack(row) for row in zip(*done, strict=True)]), len(done))
    asked = bundle.vocabulary.describe(labels)
    return Translated(output, asked, len(names) - len(bad), tuple(bad), tuple(passed_over))


def asked_labels(bundle: Bundle, to: str | None) -> tuple[int, ...]:
    """A class index of each target group, ``UNKNOWN`` of the others.

    Raises:
        UsageError: no tags, unknown ones, those of a group that is not changed, or a target without.
    """
    vocabulary, targets = bundle.vocabulary, bundle.targets
    groups = {name: vocabulary.groups[vocabulary.index(name)].classes for name in targets}
    there = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in groups.items())
    example = " ".join(f"{classes[-1]} {name}" for name, classes in groups.items())
    if to is None:
        raise UsageError(f'no tags to translate to; give for instance --to "{example}", of {there}')
    wanted = _parsed(bundle, to, there)
    for name, label in zip(targets, wanted, strict=True):
        if label == UNKNOWN:
            raise UsageError(f"--to {to!r} says nothing of {name}; name a class of each: {there}")
    by_name = dict(zip(targets, wanted, strict=True))
    return tuple(by_name.get(name, UNKNOWN) for name in vocabulary.names)


def _parsed(bundle: Bundle, to: str, there: str) -> tuple[int, ...]:
    """A class index of each target, ``UNKNOWN`` of those that the text does not name."""
    groups = tuple(bundle.vocabulary.groups[place] for place in bundle.target_places)
    bare = " ".join(to.lower().split())
    if len(groups) == 1 and bare in groups[0].classes:
        return (groups[0].classes.index(bare),)
    try:
        return Vocabulary(groups).parse(to)
    except UsageError as error:
        if other := next((name for name in _named(bundle.vocabulary, to) if name not in bundle.targets), None):
            raise UsageError(f"--to {to!r}: this generator does not change {other}; it goes to {there}") from error
        known = [name for group in groups for name in group.classes]
        if not _named(bundle.vocabulary, to):
            raise UsageError(
                f"--to {to!r} cannot be read; this generator goes to {there}{nearest(bare, known)}"
            ) from error
        raise UsageError(f"--to: {error}; this generator goes to {there}{nearest(bare, known)}") from error


def _named(vocabulary: Vocabulary, text: str) -> list[str]:
    """The groups that a text names, if it can be read."""
    try:
        return [noun for noun, _ in vocabulary.phrases(text)]
    except UsageError:
        return []


def find_pictures(inputs: Sequence[Path]) -> tuple[dict[str, Path], list[Defect]]:
    """Files by the path, without ``.png``, that each will have in the output; and what was passed over in folders.

    Raises:
        UsageError: two files that would have the same name, or a file and a folder.
        UserError: no file at all.
    """
    if not inputs:
        raise UsageError("no pictures; give files, or folders with pictures below them")
    listed: dict[tuple[Path, Path], None] = {}
    passed_over: list[Defect] = []
    for given in inputs:
        files = [given]
        if given.is_dir():
            files, links = list_files(given)
            passed_over += [Defect(link.kind, str(given / link.name)) for link in links]
            passed_over += [Defect("no picture", str(file)) for file in files if file.suffix.lower() not in SUFFIXES]
            files = [file for file in files if file.suffix.lower() in SUFFIXES]
            if not files:
                passed_over.append(Defect(_EMPTY, str(given)))
        for file in files:
            listed[file.relative_to(given) if given.is_dir() else Path(file.name), file] = None
    if not listed:
        raise UserError(f"no pictures in {', '.join(map(str, inputs))}; looked for {', '.join(sorted(SUFFIXES))}")
    return _output_names(list(listed)), passed_over


def _output_names(listed: Sequence[tuple[Path, Path]]) -> dict[str, Path]:
    """Paths in the output, from each file's path below what was given; what tells two apart is their suffix."""
    bare = Counter(within.with_suffix("") for within, _ in listed)
    folders = {parent.as_posix() for within, _ in listed for parent in within.parents}
    found: dict[str, Path] = {}
    for within, file in listed:
        name = within.with_suffix("").as_posix()
        if bare[within.with_suffix("")] > 1 or f"{name}.png" in folders:
            name = within.as_posix()
        if f"{name}.png" in folders:
            raise UsageError(f"{file} would become {name}.png, which is a folder of other pictures; rename one of them")
        if found.setdefault(name, file) != file:
            raise UsageError(
                f"{found[name]} and {file} would both become {name}.png; translate them to two folders, or give "
                "the folder that they share"
            )
    return found


def _translate(
    bundle: Bundle, labels: tuple[int, ...], files: dict[str, Path], folder: Path, bad: list[Defect]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Write the translations of the files that can be read, and give both; the others are ``bad``."""
    sources = {}
    for name, path in files.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit refuses
                sources[name] = load_image(path, bundle.config.image_size)
        except BadImage as error:
            bad.append(Defect(error.kind, str(path), error.detail))
    if not sources:
        return []
    pixels = np.stack(list(sources.values()))
    translated = bundle.translate(pixels, np.tile(np.maximum(labels, 0), (len(pixels), 1)))
    for name, picture in zip(sources, translated, strict=True):
        save_picture(Image.fromarray(picture), folder / f"{name}.png")
    return list(zip(pixels, translated, strict=True))


def _require_sheet(path: Path, output: Path) -> Target:
    target = Target.check(path, Style())
    if target.is_folder:
        raise UsageError(f"--grid is {path}; it is one picture: a name that ends in .png or .webp")
    if path.exists() or path.resolve().is_relative_to(output.resolve()):
        raise UserError(f"--grid is {path}, which exists or lies in the folder of -o; take another")
    return target


def _count(number: int) -> str:
    return f"{number} picture{'s' * (number != 1)}"


def _some(files: Sequence[Defect], *, kinds: bool = True) -> str:
    names = [f"{one.name} ({one.kind})" if kinds else one.name for one in files[:_NAMED]]
    return f"{', '.join(names)}{', ...' if len(files) > _NAMED else ''}"
