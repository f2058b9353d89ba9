"""Translate the user's images with an exported generator: files and folders in, a folder out."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipeline.bundle.requests import translation_labels
from pipeline.generate.image_output import ImageOutput, Style
from trainables.data.defects import Defect
from trainables.data.folder import list_files
from trainables.data.images import SUFFIXES, BadImage, as_picture, load_image
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import atomic_directory
from trainables.visuals.image_grid import save_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.bundle.bundle import Bundle

    Progress = Callable[[int, int], None]

AT_ONCE = 64
"""Number of images held in memory while the folder is written."""
SHOWN = 8
"""Number of images on the sample grid: the first ones, each above its translation."""
_NAMED = 20
_EMPTY = "folder without images"


@dataclass(frozen=True)
class Translated:
    """Result of ``translate_files``: what was translated, where it was written, and what could not be read."""

    output: Path
    asked: str
    images: int
    bad: tuple[Defect, ...]
    passed_over: tuple[Defect, ...]
    """Files without an image suffix, links that lead out of a folder, and folders without images."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "output": str(self.output),
            "to": self.asked,
            "pictures": self.images,
            "bad": [asdict(one) for one in self.bad],
            "passed_over": [one.name for one in self.passed_over],
        }

    def summary(self) -> str:
        """Format the result, with a line for files that could not be read."""
        lines = [f"translated {_count(self.images)} to {self.asked} in {self.output}"]
        empty = [one for one in self.passed_over if one.kind == _EMPTY]
        others = [one for one in self.passed_over if one.kind != _EMPTY]
        if others:
            files = "files that are no images" if len(others) > 1 else "file that is no image"
            lines.append(f"passed over {len(others)} {files}: {_some(others, kinds=False)}")
        if empty:
            lines.append(f"no images in {_some(empty, kinds=False)}")
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
    """Translate images of any size to one set of tags; they become square as in training (``Bundle.fit``).

    Args:
        bundle: the export.
        inputs: image files, and folders with images anywhere below them.
        to: the class of each target group; for a single group, the bare class name suffices. It is required because an
            export cannot recognize the current class of an image.
        output: the folder, written atomically; each image keeps its path below its input folder, as .png;
            ``a.jpg`` and ``a.bmp`` in the same folder become ``a.jpg.png`` and ``a.bmp.png``.
        sheet: image file for a sample grid of the first sources above their translations.
        progress: called with (files done, files in all).

    Raises:
        UsageError: a generator that draws from noise, unknown or missing tags, two images of one name.
        UserError: no image, or only unreadable ones; an output that is not empty or cannot be written.
    """
    bundle.require_translating()
    labels = translation_labels(bundle, to)
    if not ImageOutput.check(output, Style()).is_folder:
        raise UsageError(f"-o is {output}; translations go to a folder: a name without suffix")
    target = None if sheet is None else _require_sheet(sheet, output)
    files, passed_over = find_images(inputs)
    samples: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    bad: list[Defect] = []
    names = list(files)
    try:
        with atomic_directory(output) as folder:
            for start in range(0, len(names), AT_ONCE):
                batch = {name: files[name] for name in names[start : start + AT_ONCE]}
                samples += _translate(bundle, labels, batch, folder, bad)[: max(0, SHOWN - len(samples))]
                if progress:
                    progress(min(start + AT_ONCE, len(names)), len(names))
            if len(bad) == len(names):
                raise UserError(f"none of {_count(len(bad))} could be read: {_some(bad)}")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error}") from error
    if target is not None:
        target.write_sheet(np.concatenate([np.stack(row) for row in zip(*samples, strict=True)]), len(samples))
    tags = bundle.vocabulary.describe(labels)
    return Translated(output, tags, len(names) - len(bad), tuple(bad), tuple(passed_over))


def find_images(inputs: Sequence[Path]) -> tuple[dict[str, Path], list[Defect]]:
    """Return the files by their output paths (without ``.png``), and the files that were skipped in folders.

    Raises:
        UsageError: two files, or a file and a folder, would have the same output path.
        UserError: there is no image file.
    """
    if not inputs:
        raise UsageError("no images; give files, or folders with images below them")
    listed: dict[tuple[Path, Path], None] = {}
    passed_over: list[Defect] = []
    for path in inputs:
        files = [path]
        if path.is_dir():
            files, links = list_files(path)
            passed_over += [Defect(link.kind, str(path / link.name)) for link in links]
            passed_over += [Defect("no image", str(file)) for file in files if file.suffix.lower() not in SUFFIXES]
            files = [file for file in files if file.suffix.lower() in SUFFIXES]
            if not files:
                passed_over.append(Defect(_EMPTY, str(path)))
        for file in files:
            listed[file.relative_to(path) if path.is_dir() else Path(file.name), file] = None
    if not listed:
        raise UserError(f"no images in {', '.join(map(str, inputs))}; looked for {', '.join(sorted(SUFFIXES))}")
    return _output_names(list(listed)), passed_over


def _output_names(listed: Sequence[tuple[Path, Path]]) -> dict[str, Path]:
    """Derive output paths from the paths below the inputs; the original suffix is kept where names would collide."""
    bare = Counter(relative.with_suffix("") for relative, _ in listed)
    folders = {parent.as_posix() for relative, _ in listed for parent in relative.parents}
    names: dict[str, Path] = {}
    for relative, file in listed:
        name = relative.with_suffix("").as_posix()
        if bare[relative.with_suffix("")] > 1 or f"{name}.png" in folders:
            name = relative.as_posix()
        if f"{name}.png" in folders:
            raise UsageError(f"{file} would become {name}.png, which is a folder of other images; rename one of them")
        if names.setdefault(name, file) != file:
            raise UsageError(
                f"{names[name]} and {file} would both become {name}.png; translate them to two folders, or give "
                "the folder that they share"
            )
    return names


def _translate(
    bundle: Bundle, labels: tuple[int, ...], files: dict[str, Path], folder: Path, bad: list[Defect]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Write the translations of the readable files, and return both; the others are appended to ``bad``."""
    sources, config = {}, bundle.config
    for name, path in files.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own size limit applies
                sources[name] = load_image(path, config.image_size, bundle.fit, config.channels)
        except BadImage as error:
            bad.append(Defect(error.kind, str(path), error.detail))
    if not sources:
        return []
    pixels = np.stack(list(sources.values()))
    translated = bundle.translate(pixels, np.tile(np.maximum(labels, 0), (len(pixels), 1)))
    for name, image in zip(sources, translated, strict=True):
        save_image(as_picture(image), folder / f"{name}.png")
    return list(zip(pixels, translated, strict=True))


def _require_sheet(path: Path, output: Path) -> ImageOutput:
    target = ImageOutput.check(path, Style())
    if target.is_folder:
        raise UsageError(f"--grid is {path}; it is one image: a name that ends in .png or .webp")
    if path.exists() or path.resolve().is_relative_to(output.resolve()):
        raise UserError(f"--grid is {path}, which exists or lies in the folder of -o; take another")
    return target


def _count(number: int) -> str:
    return f"{number} image{'s' * (number != 1)}"


def _some(files: Sequence[Defect], *, kinds: bool = True) -> str:
    names = [f"{file.name} ({file.kind})" if kinds else file.name for file in files[:_NAMED]]
    return f"{', '.join(names)}{', ...' if len(files) > _NAMED else ''}"
