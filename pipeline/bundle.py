"""An exported generator: one folder that needs nothing but this package.

``manifest.json`` names every file with its SHA-256; loading verifies them. Nothing is pickled. With the ``onnx``
backend torch is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.backends import BACKENDS, NOISE, SOURCES, TorchNetwork, open_network
from pipeline.manifest import CONFIG, GOLDEN, TAGS, read_json, verify_manifest
from trainables.config import GanConfig
from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, UserError, first_line, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.backends import Network
    from trainables.networks.conditioning import Pairs

BATCH = 64
SEEDS = 2**31
MOST = 10**12
"""Pictures of one combination: more than anyone has, and their sum is still exact."""


@dataclass(frozen=True)
class Bundle:
    """A generator ready to draw, or to translate.

    ``combinations`` ``(m, groups)`` with ``counts`` ``(m,)`` are the data's tags.

    >>> bundle = Bundle.load(Path("winner"))                                          # doctest: +SKIP
    >>> labels = bundle.complete(bundle.vocabulary.parse("blue hair"), 16, seed=0)    # doctest: +SKIP
    >>> bundle.draw(labels, seed=0).shape                                             # doctest: +SKIP
    (16, 64, 64, 3)
    """

    config: GanConfig
    vocabulary: Vocabulary
    network: Network
    combinations: NDArray[np.int64]
    counts: NDArray[np.int64]
    pairs: Pairs = ()
    """The combinations that the generator knows, where it knows no others (F)."""
    folder: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    """``sweep``, ``trial``, ``scores``, ``fingerprint`` and hashes, as ``manifest.json`` has them."""
    targets: tuple[str, ...] = ()
    """The tag groups that a generator that translates changes."""

    @classmethod
    def load(cls, folder: Path, backend: str = "torch", *, threads: int = 0) -> Bundle:
        """Read and verify an export.

        Args:
            folder: what ``gansweep export`` wrote.
            backend: ``torch``; ``onnx`` or ``onnx-fp16``, which import no torch; or ``pt2``. torch gives no
                guarantee for a ``.pt2`` file of somebody you do not trust.
            threads: of ONNX Runtime; 0 leaves it to it.

        Raises:
            UsageError: no such backend.
            UserError: no export, another format, a file that is missing or changed, weights that do not fit.
        """
        if backend not in BACKENDS:
            raise UsageError(f"backend is {backend!r}; allowed: {', '.join(BACKENDS)}{nearest(backend, BACKENDS)}")
        manifest = verify_manifest(folder)
        if BACKENDS[backend] not in manifest["files"]:
            raise UserError(f"export {folder} has no {BACKENDS[backend]}; export it again, or use another backend")
        try:
            return cls._read(folder, backend, threads, manifest)
        except UsageError as error:  # the user asked for nothing wrong: the folder is at fault
            raise UserError(f"export {folder} cannot be used: {error}") from error
        except UserError:
            raise
        except Exception as error:  # what damaged and forged files make the libraries raise has no common class
            raise UserError(f"export {folder} cannot be used: {first_line(error)}") from error

    @classmethod
    def _read(cls, folder: Path, backend: str, threads: int, manifest: dict[str, Any]) -> Bundle:
        about, tags = read_json(folder / CONFIG), read_json(folder / TAGS)
        vocabulary = Vocabulary.from_json(tags["vocabulary"])
        if tags["hash"] != vocabulary.hash:
            raise ValueError(f"the vocabulary of {TAGS} has the hash {vocabulary.hash}, not {tags['hash']}")
        config = GanConfig.from_params(about["params"])
        combinations = np.array([entry["labels"] for entry in tags["combinations"]], dtype=np.int64)
        counts = np.array([entry["count"] for entry in tags["combinations"]], dtype=np.int64)
        _require_combinations(combinations, counts, vocabulary)
        pairs = tuple(tuple(int(label) for label in pair) for pair in about.get("pairs", ()))
        targets = _targets(tags, config, vocabulary)
        places = [vocabulary.index(name) for name in targets]
        network = open_network(folder, backend, config, vocabulary.sizes, pairs, threads, places)
        return cls(config, vocabulary, network, combinations, counts, pairs, folder, manifest, targets)

    @property
    def target_places(self) -> tuple[int, ...]:
        """Positions of ``targets`` among the tag groups."""
        return tuple(map(self.vocabulary.index, self.targets))

    def require_drawing(self) -> None:
        """Refuse to draw from noise with a generator that translates.

        Raises:
            UsageError: names the command for it.
        """
        if self.config.translates:
            raise UsageError(
                f"this {self.config.system} generator draws nothing from noise, it translates pictures; use "
                f"`gansweep translate DIR IMAGE... --to TAGS -o OUT`"
            )

    def require_translating(self) -> None:
        """Refuse to translate with a generator that draws from noise.

        Raises:
            UsageError: names the command for it.
        """
        if not self.config.translates:
            raise UsageError(
                f"this {self.config.system} generator translates no pictures, it draws them from noise; use "
                "`gansweep generate DIR TAGS -o OUT`"
            )

    def translate(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures ``(n, s, s, 3)`` as the target groups of ``labels`` ``(n, groups)`` ask; the others do not count.

        Raises:
            UsageError: a generator that draws from noise, no picture, another shape, no class of a target group.
        """
        self.require_translating()
        side, groups = self.config.image_size, len(self.vocabulary.sizes)
        if not len(pixels) or pixels.shape[1:] != (side, side, 3) or labels.shape != (len(pixels), groups):
            raise UsageError(
                f"pictures have the shape {pixels.shape} and labels {labels.shape}; needed are (n, {side}, {side}, 3) "
                f"and (n, {groups}) with n 1 or more"
            )
        for name, place in zip(self.targets, self.target_places, strict=True):
            _require_classes(labels[:, place], name, self.vocabulary.sizes[place])
        sources = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - 1
        parts = [self.network.render(sources[part], labels[part]) for part in _batches(len(sources))]
        return _to_pixels(np.concatenate(parts))

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

    def noise(self, places: Iterable[int], seed: int, truncation: float | None = None) -> NDArray[np.float32]:
        """Standard normal noise ``(n, noise_dim)``, row i from seed and place i alone.

        ``truncation`` T draws from the normal distribution cut off beyond T (Brock et al. 2019: fewer odd pictures,
        less variety). It is the same noise pressed together, so that a picture changes smoothly with T.

        Raises:
            UsageError: a seed or truncation out of range, or a generator that translates.
        """
        self.require_drawing()
        if not 0 <= seed < SEEDS:
            raise UsageError(f"seed is {seed}; allowed: 0 to {SEEDS - 1}")
        size = self.config.generator.noise_dim
        rows = [np.random.default_rng([seed, place]).standard_normal(size) for place in places]
        noise = np.stack(rows) if rows else np.empty((0, size))
        return (noise if truncation is None else _truncated(noise, truncation)).astype(np.float32)

    def draw(
        self,
        labels: NDArray[np.int64],
        seed: int,
        noises: NDArray[np.int64] | None = None,
        truncation: float | None = None,
    ) -> NDArray[np.uint8]:
        """Pictures ``(n, s, s, 3)`` for labels ``(n, groups)``; picture i depends on seed, i and its labels alone.

        ``noises`` ``(n,)`` gives each picture another noise number than its place, so that several can share one.

        Raises:
            UsageError: no row, a tag or combination that this generator does not know, a seed or truncation out of
                range.
        """
        places = range(len(labels)) if noises is None else noises.tolist()
        return self.pictures(self.noise(places, seed, truncation), labels)

    def pictures(self, noise: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures ``(n, s, s, 3)`` for noise ``(n, noise_dim)`` and labels ``(n, groups)``.

        Raises:
            UsageError: no row, another shape, a tag or combination that this generator does not know.
        """
        self._require_rows(noise, labels)
        parts = [self.network.render(noise[part], labels[part]) for part in _batches(len(noise))]
        return _to_pixels(np.concatenate(parts))

    def blend(
        self,
        noise: NDArray[np.float32],
        labels: NDArray[np.int64],
        others: NDArray[np.int64],
        shares: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """Pictures of tags that lie ``shares`` ``(n,)`` in [0, 1] of the way from ``labels`` to ``others``.

        Raises:
            UsageError: as ``pictures``; a generator without tags; a backend whose inputs are whole tags.
        """
        if not self.config.conditional:
            raise UsageError(f"this {self.config.system} generator takes no tags, so there is nothing between two")
        if not isinstance(self.network, TorchNetwork):
            raise UsageError("tags are blended inside the network, which only the torch backend reaches")
        for given in (labels, others):
            self._require_rows(noise, given)
        parts = [
            self.network.blend(noise[part], labels[part], others[part], shares[part]) for part in _batches(len(noise))
        ]
        return _to_pixels(np.concatenate(parts))

    def golden_error(self) -> float:
        """Largest difference, of pixels in [-1, 1], between what this backend draws and the export's golden pictures.

        Raises:
            UserError: an export without them, as format 1 wrote.
        """
        if self.folder is None or GOLDEN not in self.manifest.get("files", {}):
            raise UserError(f"this export has no {GOLDEN} to check it by; export it again")
        from safetensors.numpy import load_file

        golden = load_file(self.folder / GOLDEN)
        inputs = golden[SOURCES if self.config.translates else NOISE]
        labels = golden.get("tags", np.zeros((len(inputs), len(self.vocabulary.sizes)), np.int64))
        return float(np.abs(self.network.render(inputs, labels) - golden["pictures"]).max())

    def _require_rows(self, noise: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        sizes = np.array(self.vocabulary.sizes)
        wanted = (len(noise), len(sizes)), (len(labels), self.config.generator.noise_dim)
        if not len(labels) or (labels.shape, noise.shape) != wanted:
            raise UsageError(
                f"labels have the shape {labels.shape} and noise {noise.shape}; needed are (n, {len(sizes)}) and "
                f"(n, {self.config.generator.noise_dim}) with n 1 or more"
            )
        for column, name, size in zip(labels.T, self.vocabulary.names, sizes.tolist(), strict=True):
            if self.config.conditional:
                _require_classes(column, name, size)
        self._require_known(labels)

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


def _require_classes(labels: NDArray[np.int64], group: str, size: int) -> None:
    wrong = labels[(labels < 0) | (labels >= size)]
    if len(wrong):
        raise UsageError(f"label {wrong[0]} is no class of {group}; allowed: 0 to {size - 1}")


def _targets(tags: dict[str, Any], config: GanConfig, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The groups that are changed; all where the file names none, as of a system whose every group is one."""
    if not config.translates:
        return ()
    targets = tuple(str(name) for name in tags.get("targets") or vocabulary.names)
    sizes = [vocabulary.sizes[vocabulary.index(name)] for name in targets]
    if len(set(targets)) < len(targets) or (config.system == "cyclegan" and sizes != [2]):
        raise ValueError(f"{TAGS} names the targets {', '.join(targets)}, which {config.system} cannot translate")
    return targets


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))


def _to_pixels(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures ``(n, 3, s, s)`` in [-1, 1], values outside cut -> ``(n, s, s, 3)``."""
    levels = np.rint((np.clip(pictures, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def _truncated(noise: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Standard normal values -> values of the same quantiles of the normal distribution within ``limit``."""
    from scipy.special import ndtr, ndtri

    if not 0 < limit <= 10:
        raise UsageError(f"truncation is {limit:g}; allowed: above 0 to 10 standard deviations")
    low, high = ndtr(-limit), ndtr(limit)
    pressed: NDArray[np.float64] = ndtri(low + ndtr(noise) * (high - low))
    return np.clip(pressed, -limit, limit)


def _require_combinations(labels: NDArray[np.int64], counts: NDArray[np.int64], vocabulary: Vocabulary) -> None:
    sound = ((counts >= 0) & (counts <= MOST)).all() and counts.any()
    if labels.shape != (len(counts), len(vocabulary.sizes)) or not sound:
        raise ValueError(f"{TAGS} has no tag combinations that could be drawn")
    if ((labels < 0) | (labels >= np.array(vocabulary.sizes))).any():
        raise ValueError(f"{TAGS} has a tag combination outside its vocabulary")
