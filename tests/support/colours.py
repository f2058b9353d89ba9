"""Classification of hair and eye colours by pixels alone, without a network, to check what samples show.

The regions follow from the composition of synthetic faces. The reference colour of a class (averaged with gloss, lashes
and blur) is the mean over synthetic faces of that class.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.synthetic import draw_faces
from trainables.data.tags import REPORT_VOCABULARY

Pixels = NDArray[np.uint8]
Lab = NDArray[np.float64]

SIDE = 32
CROWN = (slice(2, 10), slice(9, 23))
IRISES = ((slice(16, 22), slice(8, 14)), (slice(16, 22), slice(18, 24)))
CALIBRATION_SEED = 987_654
CALIBRATION_FACES = 660  # a multiple of 12 x 11, so that all pairs of colours occur equally often

_TO_XYZ = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
_WHITE = _TO_XYZ.sum(axis=1)


def to_lab(pixels: Pixels) -> Lab:
    """Convert sRGB (..., 3) in 0..255 to CIE Lab, in which distances match perceived differences."""
    srgb = pixels / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def measure_colours(pixels: Pixels) -> NDArray[np.int64]:
    """Return labels (n, 2), hair and eyes as in ``REPORT_VOCABULARY``, of faces (n, s, s, 3) with s >= 32."""
    if len(pixels) == 0:
        return np.empty((0, 2), dtype=np.int64)
    features = _features(pixels)
    nearest = [
        np.linalg.norm(feature[:, None] - reference, axis=2).argmin(axis=1)
        for feature, reference in zip(features, _references(), strict=True)
    ]
    return np.stack(nearest, axis=1)


def _features(pixels: Pixels) -> tuple[Lab, Lab]:
    """Return Lab colours (n, 3): the median of the crown, to exclude headwear, and the mean of both irises.

    Irises use the mean because each has few pixels, all of which gloss, pupil and blur may change.
    """
    lab = to_lab(np.stack([_reduce(image) for image in pixels]))
    crown = lab[:, *CROWN].reshape(len(lab), -1, 3)
    irises = np.concatenate([lab[:, *place].reshape(len(lab), -1, 3) for place in IRISES], axis=1)
    return np.median(crown, axis=1), irises.mean(axis=1)


def _reduce(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))


@cache
def _references() -> tuple[Lab, ...]:
    """Return the mean measured colours (classes, 3) of each group."""
    sizes = REPORT_VOCABULARY.sizes
    labels = np.stack([np.arange(CALIBRATION_FACES) % size for size in sizes], axis=1)
    features = _features(draw_faces(labels, CALIBRATION_SEED, SIDE))
    return tuple(
        np.stack([feature[labels[:, group] == label].mean(axis=0) for label in range(sizes[group])])
        for group, feature in enumerate(features)
    )
