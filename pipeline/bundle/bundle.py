"""An exported generator: one folder that needs nothing but this package.

``manifest.json`` names every file with its SHA-256; loading verifies them. Nothing is pickled. With the ``onnx``
backend torch is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from pipeline.bundle.backends import BACKENDS, NOISE, SOURCES, TorchNetwork, open_network, require_safe
from pipeline.bundle.manifest import CONFIG, GOLDEN, TAGS, read_json, verify_manifest
from trainables.config import Fit, GanConfig
from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, UserError, first_line, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.bundle.backends import Network
    from trainables.networks.conditioning import Pairs

BATCH = 64
SEEDS = 2**31
MOST = 10**12
"""Largest count of one combination; sums of counts stay exact."""


@dataclass(frozen=True)
class Bundle:
    """An exported generator, ready to draw or to translate.

    ``combinations`` ``(m, groups)`` with ``counts`` ``(m,)`` are the data's tags.

    >>> bundle = Bundle.load(Path("winner"))                                          # doctest: +SKIP
    >>> labels = bundle.complete(bundle.vocabulary.parse("red square"), 16, seed=0)    # doctest: +SKIP
    >>> bundle.draw(labels, seed=0).shape                                             # doctest: +SKIP
    (16, 64, 64, 3)
    """

    config: GanConfig
    vocabulary: Vocabulary
    network: Network
    combinations: NDArray[np.int64]
    counts: NDArray[np.int64]
    pairs: Pairs = ()
    """The only combinations that the generator knows, if it is conditioned on pairs."""
    folder: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    """``sweep``, ``trial``, ``scores``, ``fingerprint`` and hashes, as ``manifest.json`` has them."""
    targets: tuple[str, ...] = ()
    """The tag groups that a translating generator changes."""
    fit: Fit = "crop"
    """How images became square in training, as those to translate do."""

    @classmethod
    def load(cls, folder: Path, backend: str = "torch", *, threads: int = 0) -> Bundle:
        """Read and verify an export.

        Args:
            folder: what ``gansweep export`` wrote.
            backend: ``torch``; ``onnx`` or ``onnx-fp16``, which import no torch; or ``pt2``. Load a ``.pt2`` file only
                from a trusted source: torch does not guarantee that loading it is safe.
            threads: threads of ONNX Runtime; 0 lets it choose.

        Raises:
            UsageError: no such backend.
            UserError: not an export, an unsupported format, a missing or changed file, weights that do not fit.
        """
        if backend not in BACKENDS:
            raise UsageError(f"backend is {backend!r}; allowed: {', '.join(BACKENDS)}{nearest(backend, BACKENDS)}")
        manifest = verify_manifest(folder)
        if BACKENDS[backend] not in manifest["files"]:
            raise UserError(f"export {folder} has no {BACKENDS[backend]}; export it again, or use another backend")
        try:
            require_safe(folder, backend)
            return cls.read_verified(folder, backend, threads, manifest)
        except UsageError as error:  # not a usage error: the folder is at fault
            raise UserError(f"export {folder} cannot be used: {error}") from error
        except UserError:
            raise
        except Exception as error:  # errors of the libraries on damaged or forged files have no common class
            raise UserError(f"export {folder} cannot be used: {first_line(error)}") from error

    @classmethod
    def read_verified(cls, folder: Path, backend: str, threads: int, manifest: dict[str, Any]) -> Bundle:
        """Read an export's files without verifying them, as ``load`` does after it has; a served model has no manifest.

        Raises:
            ValueError: files that do not fit each other.
            UserError: a file that cannot be read, or weights that do not fit.
        """
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
        fit = _fit(about)
        return cls(config, vocabulary, network, combinations, counts, pairs, folder, manifest, targets, fit)

    @property
    def target_places(self) -> tuple[int, ...]:
        """Return the positions of ``targets`` among the tag groups."""
        return tuple(map(self.vocabulary.index, self.targets))

    def require_drawing(self) -> None:
        """Check that the generator draws from noise.

        Raises:
            UsageError: it does not; names the command to use.
        """
        if self.config.translates:
            raise UsageError(
                f"this {self.config.system} generator draws nothing from noise, it translates images; use "
                f"`gansweep translate DIR IMAGE... --to TAGS -o OUT`"
            )

    def require_translating(self) -> None:
        """Check that the generator translates images.

        Raises:
            UsageError: it does not; names the command to use.
        """
        if not self.config.translates:
            raise UsageError(
                f"this {self.config.system} generator translates no images, it draws them from noise; use "
                "`gansweep generate DIR TAGS -o OUT`"
            )

    def translate(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Translate images ``(n, s, s, c)`` to the target groups of ``labels`` ``(n, groups)``, ignoring other groups.

        Raises:
            UsageError: a generator that draws from noise, no image, a wrong shape, no class of a target group.
        """
        self.require_translating()
        groups, shape = len(self.vocabulary.sizes), (*[self.config.image_size] * 2, self.config.channels)
        if not len(pixels) or pixels.shape[1:] != shape or labels.shape != (len(pixels), groups):
            raise UsageError(
                f"images have the shape {pixels.shape} and labels {labels.shape}; needed are "
                f"(n, {', '.join(map(str, shape))}) and (n, {groups}) with n 1 or more"
            )
        for name, place in zip(self.targets, self.target_places, strict=True):
            _require_classes(labels[:, place], name, self.vocabulary.sizes[place])
        sources = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(127.5) - 1
        parts = [self.network.render(sources[part], labels[part]) for part in _batches(len(sources))]
        return _to_pixels(np.concatenate(parts))

    def complete(self, labels: tuple[int, ...], count: int, seed: int) -> NDArray[np.int64]:
        """Return ``count`` rows of labels; missing tags are drawn from the data's combinations that match the rest."""
        asked = np.array(labels)
        fits = ((self.combinations == asked) | (asked == UNKNOWN)).all(axis=1)
        if UNKNOWN not in labels or not fits.any():
            # If no combination of the data matches, missing tags are drawn from all combinations.
            fits = np.ones(len(self.counts), dtype=bool)
        weights = self.counts * fits
        rows = [
            np.random.default_rng([seed, place, 1]).choice(len(weights), p=weights / weights.sum())
            for place in range(count)
        ]
        return np.where(asked == UNKNOWN, self.combinations[rows], asked)

    def noise(self, places: Iterable[int], seed: int, truncation: float | None = None) -> NDArray[np.float32]:
        """Draw standard normal noise ``(n, noise_dim)``; row i depends only on the seed and ``places[i]``.

        ``truncation`` T draws from the normal distribution truncated at T (Brock et al. 2019: fewer odd images, less
        variety). The same quantiles are used for every T, so that an image changes smoothly with T.

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
        """Draw images ``(n, s, s, c)`` for labels ``(n, groups)``; image i depends only on the seed, i and its labels.

        ``noises`` ``(n,)`` replaces i by a noise number per image, so that several images can share their noise.

        Raises:
            UsageError: no row, a tag or combination that this generator does not know, a seed or truncation out of
                range.
        """
        places = range(len(labels)) if noises is None else noises.tolist()
        return self.images(self.noise(places, seed, truncation), labels)

    def images(self, noise: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Draw images ``(n, s, s, channels)`` for noise ``(n, noise_dim)`` and labels ``(n, groups)``.

        Raises:
            UsageError: no row, another shape, a tag or combination that this generator does not know.
        """
        self.require_rows(noise, labels)
        parts = [self.network.render(noise[part], labels[part]) for part in _batches(len(noise))]
        return _to_pixels(np.concatenate(parts))

    def blend(
        self,
        noise: NDArray[np.float32],
        labels: NDArray[np.int64],
        others: NDArray[np.int64],
        shares: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """Draw images of tags that lie ``shares`` ``(n,)`` in [0, 1] of the way from ``labels`` to ``others``.

        Raises:
            UsageError: as ``images``; a generator without tags; a backend whose inputs are whole tags.
        """
        if not self.config.conditional:
            raise UsageError(f"this {self.config.system} generator takes no tags, so there is nothing between two")
        if not isinstance(self.network, TorchNetwork):
            raise UsageError("tags are blended inside the network, which only the torch backend reaches")
        for given in (labels, others):
            self.require_rows(noise, given)
        parts = [
            self.network.blend(noise[part], labels[part], others[part], shares[part]) for part in _batches(len(noise))
        ]
        return _to_pixels(np.concatenate(parts))

    def golden_error(self) -> float:
        """Return the largest pixel difference (in [-1, 1]) between this backend's output and the golden images.

        Raises:
            UserError: the export has no golden images, as in format 1.
        """
        if self.folder is None or GOLDEN not in self.manifest.get("files", {}):
            raise UserError(f"this export has no {GOLDEN} to check it by; export it again")
        from safetensors.numpy import load_file

        golden = load_file(self.folder / GOLDEN)
        inputs = golden[SOURCES if self.config.translates else NOISE]
        labels = golden.get("tags", np.zeros((len(inputs), len(self.vocabulary.sizes)), np.int64))
        return float(np.abs(self.network.render(inputs, labels) - golden["pictures"]).max())

    def require_rows(self, noise: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Check noise ``(n, noise_dim)`` and labels ``(n, groups)`` before drawing.

        Raises:
            UsageError: no row, another shape, a tag or combination that this generator does not know.
        """
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


def _fit(about: dict[str, Any]) -> Fit:
    """Read how images became square; exports of version 0.1.0 do not say, and cropped."""
    fit = about.get("fit", "crop")
    if fit not in get_args(Fit):
        raise ValueError(f"{CONFIG} has fit {fit!r}; allowed: {', '.join(get_args(Fit))}")
    return cast("Fit", fit)


def _require_classes(labels: NDArray[np.int64], group: str, size: int) -> None:
    wrong = labels[(labels < 0) | (labels >= size)]
    if len(wrong):
        raise UsageError(f"label {wrong[0]} is no class of {group}; allowed: 0 to {size - 1}")


def _targets(tags: dict[str, Any], config: GanConfig, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the groups that are changed; all if the file lists none, as for systems that change every group."""
    if not config.translates:
        return ()
    targets = tuple(str(name) for name in tags.get("targets") or vocabulary.names)
    sizes = [vocabulary.sizes[vocabulary.index(name)] for name in targets]
    if len(set(targets)) < len(targets) or (config.system == "cyclegan" and sizes != [2]):
        raise ValueError(f"{TAGS} names the targets {', '.join(targets)}, which {config.system} cannot translate")
    return targets


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))


def _to_pixels(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert images ``(n, 3, s, s)`` in [-1, 1], with other values clipped, to ``(n, s, s, 3)``."""
    levels = np.rint((np.clip(images, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def _truncated(noise: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Map standard normal values to the same quantiles of the normal distribution truncated at ``limit``."""
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
