"""An exported generator: one folder that needs nothing but this package.

``manifest.json`` names every file with its SHA-256; loading verifies them. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from trainables.config import GanConfig
from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, UserError, first_line
from trainables.files import write_json
from trainables.networks.generator import Generator
from trainables.pictures import to_uint8

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.networks.conditioning import Pairs

FORMAT = 1
MANIFEST, CONFIG, TAGS, WEIGHTS = "manifest.json", "config.json", "tags.json", "weights.safetensors"
BATCH = 64
MOST = 10**12
"""Pictures of one combination: more than anyone has, and their sum is still exact."""


@dataclass(frozen=True)
class Bundle:
    """A generator ready to draw. ``combinations`` ``(m, groups)`` with ``counts`` ``(m,)`` are the data's tags."""

    config: GanConfig
    vocabulary: Vocabulary
    generator: Generator
    combinations: NDArray[np.int64]
    counts: NDArray[np.int64]
    pairs: Pairs = ()
    """The combinations that the generator knows, where it knows no others (F)."""

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and verify an export.

        Raises:
            UserError: no export, another format, a file that is missing or changed, weights that do not fit.
        """
        verify_manifest(folder)
        about, tags = _read_json(folder / CONFIG), _read_json(folder / TAGS)
        try:
            vocabulary = Vocabulary.from_json(tags["vocabulary"])
            config = GanConfig.from_params(about["params"])
            combinations = np.array([entry["labels"] for entry in tags["combinations"]], dtype=np.int64)
            counts = np.array([entry["count"] for entry in tags["combinations"]], dtype=np.int64)
            _require_combinations(combinations, counts, vocabulary)
            pairs = tuple(tuple(int(label) for label in pair) for pair in about.get("pairs", ()))
            weights = load_file(folder / WEIGHTS)
            _require_shapes(weights, config, vocabulary, pairs)
            generator = Generator(config, vocabulary.sizes, pairs)
            generator.load_state_dict(weights)
        except (
            AttributeError, KeyError, TypeError, ValueError, OverflowError, RuntimeError, OSError, SafetensorError
        ) as error:  # fmt: skip
            raise UserError(f"export {folder} cannot be used: {first_line(error)}") from error
        generator.eval().requires_grad_(False)
        return cls(config, vocabulary, generator, combinations, counts, pairs)

    def complete(self, labels: tuple[int, ...], count: int, seed: int) -> NDArray[np.int64]:
        """``count`` rows of labels; a missing tag is drawn from the data's combinations that agree with the rest."""
        asked = np.array(labels)
        fits = ((self.combinations == asked) | (asked == UNKNOWN)).all(axis=1)
        if UNKNOWN not in labels or not fits.any():
            # A combination the data do not know: the missing tags come from all of them.
            fits = np.ones(len(self.counts), dtype=bool)
        weights = self.counts * fits
        rows = [
            np.random.default_rng([seed, place, 1]).choice(len(weights), p=weights / weights.sum())
            for place in range(count)
        ]
        return np.where(asked == UNKNOWN, self.combinations[rows], asked)

    @torch.inference_mode()
    def draw(self, labels: NDArray[np.int64], seed: int, noises: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
        """Pictures ``(n, s, s, 3)`` for labels ``(n, groups)``; picture i depends on seed, i and its labels alone.

        ``noises`` ``(n,)`` gives each picture another noise number than its place, so that several can share one.

        Raises:
            UsageError: a combination that this generator does not know.
        """
        self._require_known(labels)
        places = range(len(labels)) if noises is None else noises.tolist()
        noise_dim = self.config.generator.noise_dim
        noise = np.stack([np.random.default_rng([seed, place]).standard_normal(noise_dim) for place in places])
        codes, tags = torch.from_numpy(noise).float(), torch.from_numpy(labels)
        pictures = [
            to_uint8(self.generator.picture(part, tag))
            for part, tag in zip(torch.split(codes, BATCH), torch.split(tags, BATCH), strict=True)
        ]
        pixels: NDArray[np.uint8] = torch.cat(pictures).permute(0, 2, 3, 1).numpy()
        return pixels

    def _require_known(self, labels: NDArray[np.int64]) -> None:
        known = set(self.pairs)
        for row in labels.tolist() if known else ():
            if tuple(row) not in known:
                near = [pair for pair in self.pairs if pair[0] == row[0]]
                examples = ", ".join(repr(self.vocabulary.describe(pair)) for pair in near[:12])
                raise UsageError(
                    f"{self.vocabulary.describe(row)!r} did not occur in the training data, and this generator knows "
                    f"only combinations that did; with that {self.vocabulary.names[0]} it knows {examples or 'none'}"
                )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Name every file of the folder with its hash."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST]
    files = {path.relative_to(folder).as_posix(): file_hash(path) for path in found}
    write_json(folder / MANIFEST, {"format": FORMAT, **about, "files": files})


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every hash.

    Raises:
        UserError: what is missing or changed.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is no export: it has no {MANIFEST}; `gansweep export NAME -o DIR` writes one")
    manifest = _read_json(folder / MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise UserError(f"export {folder} has format {manifest.get('format')!r}; this version reads {FORMAT}")
    for name in (CONFIG, TAGS, WEIGHTS):
        if name not in files:
            raise UserError(f"export {folder}: {MANIFEST} does not list {name}; export it again")
    root = folder.resolve()
    for name, expected in files.items():
        try:
            path = (root / name).resolve()
            digest = file_hash(path) if path.is_relative_to(root) and path.is_file() else ""
        except (OSError, ValueError, RuntimeError) as error:  # no file can have such a name, or it cannot be read
            raise UserError(f"export {folder}: cannot read {name!r}: {first_line(error)}; export it again") from error
        if not path.is_relative_to(root):
            raise UserError(f"export {folder}: {name!r} lies outside the folder; do not use this export")
        if not digest:
            raise UserError(f"export {folder}: {name} is missing; export it again")
        if digest != expected:
            raise UserError(f"export {folder}: {name} was changed after the export (its hash differs); export it again")
    return manifest


def _require_shapes(
    weights: Mapping[str, torch.Tensor], config: GanConfig, vocabulary: Vocabulary, pairs: Pairs
) -> None:
    """Compare without memory: a configuration of a few bytes can ask for networks of gigabytes."""
    with torch.device("meta"):
        expected = Generator(config, vocabulary.sizes, pairs).state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        shapes = [tuple(part[name].shape) if name in part else None for part in (weights, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{WEIGHTS} does not fit {CONFIG}: {name} is {shapes[0]}, expected {shapes[1]}")


def _require_combinations(labels: NDArray[np.int64], counts: NDArray[np.int64], vocabulary: Vocabulary) -> None:
    sound = ((counts >= 0) & (counts <= MOST)).all() and counts.any()
    if labels.shape != (len(counts), len(vocabulary.sizes)) or not sound:
        raise ValueError(f"{TAGS} has no tag combinations that could be drawn")
    if ((labels < 0) | (labels >= np.array(vocabulary.sizes))).any():
        raise ValueError(f"{TAGS} has a tag combination outside its vocabulary")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}; a JSON object is needed")
    return value
