"""Parts of a synthetic anime face: a supersampled canvas, shaded colours, and the layers drawn on each other.

Every part draws in face coordinates: before the pose is applied, the image spans -1..1 in x (right) and y (down), with
the eyes a little below the centre. Continuous variation is drawn from a generator; discrete variants are in tables.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

Colour: TypeAlias = tuple[int, ...]
"""Red, green, blue and an optional opacity; all 0..255."""

Position: TypeAlias = tuple[float, float]
"""``(x, y)`` in face coordinates."""

Points: TypeAlias = NDArray[np.float64]
"""Positions of shape (n, 2) in face coordinates."""

WHITE: Colour = (255, 255, 255)
LASH: Colour = (46, 28, 38)


@dataclass(frozen=True)
class Tones:
    """A colour with the colours of its shadow (``shade``), outline (``dark``) and gloss (``light``)."""

    base: Colour
    shade: Colour
    dark: Colour
    light: Colour

    @classmethod
    def of(cls, hue: float, saturation: float, lightness: float) -> Tones:
        """Compute the tones of an HSL colour: ``hue`` in degrees, the others 0..1."""

        def paint(light: float, turn: float = 0.0) -> Colour:
            rgb = colorsys.hls_to_rgb((hue + turn) / 360 % 1, light, saturation)
            return tuple(round(255 * value) for value in rgb)

        return cls(
            base=paint(lightness),
            shade=paint(0.82 * lightness, turn=-4),
            dark=paint(0.45 * lightness, turn=-8),
            light=paint(lightness + 0.45 * (1 - lightness) * min(1.0, 0.35 + lightness), turn=4),
        )


_BERNSTEIN = np.array([((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in np.linspace(0, 1, 7)])
_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 22, endpoint=False)])


def bend(segments: ArrayLike) -> Points:
    """Join quadratic Bezier curves: (m, 3, 2) start, control and end points of each -> (7 m, 2)."""
    return (_BERNSTEIN @ np.asarray(segments, dtype=np.float64)).reshape(-1, 2)


def rounded(knots: Points) -> Points:
    """Smooth closed outline with (n, 2) control points; a repeated one makes a corner."""
    middles = (knots + np.roll(knots, -1, axis=0)) / 2
    return bend(np.stack([np.roll(middles, 1, axis=0), knots, middles], axis=1))


def symmetric(half: ArrayLike) -> Points:
    """Close a right half, given from top to bottom, with its mirror image."""
    right = np.asarray(half, dtype=np.float64)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    """Outline of an axis-aligned ellipse."""
    return _CIRCLE * (radius_x, radius_y) + (x, y)


def crescent(start: Position, end: Position, outer: float, inner: float) -> Points:
    """Outline between two arcs from start to end that sag by ``outer`` and ``inner`` (negative: rise)."""
    return _sliver(start, end, (0, 2 * outer), (0, 2 * inner))


def lens(start: Position, end: Position, width: float) -> Points:
    """Outline of a strand with pointed ends."""
    return _sliver(start, end, (width, 0), (-width, 0))


def _sliver(start: Position, end: Position, there: Position, back: Position) -> Points:
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    return bend([(start, (x + there[0], y + there[1]), end), (end, (x + back[0], y + back[1]), start)])


class Canvas:
    """A square image drawn in face coordinates at ``supersampling`` times its size, and reduced at the end."""

    def __init__(self, size: int, corners: Sequence[Colour], supersampling: int = 3) -> None:
        self._supersampling = supersampling
        side = size * supersampling
        four = Image.new("RGB", (2, 2))
        four.putdata(corners)
        self._image = four.resize((side, side), Image.Resampling.BILINEAR)
        self._draw = ImageDraw.Draw(self._image, "RGBA")  # "RGBA" so that translucent colours blend
        self._half = side / 2
        self.pose(0.0, 1.0, (0.0, 0.0))

    def pose(self, tilt: float, scale: float, shift: tuple[float, float]) -> None:
        """Rotate (radians), scale and then shift everything drawn after this call."""
        cos, sin = np.cos(tilt) * scale, np.sin(tilt) * scale
        self._turn = self._half * np.array([(cos, sin), (-sin, cos)])
        self._origin = self._half * (1 + np.array(shift))

    def fill(self, outline: Points, colour: Colour) -> None:
        """Fill a closed outline."""
        self._draw.polygon((outline @ self._turn + self._origin).ravel().tolist(), fill=colour)

    def stroke(self, path: Points, colour: Colour, width: float) -> None:
        """Draw an open line; ``width`` in face coordinates."""
        pixels = (path @ self._turn + self._origin).ravel().tolist()
        self._draw.line(pixels, fill=colour, width=max(1, round(width * self._half)))

    def finish(self) -> Image.Image:
        """Reduce the image to its final size by averaging."""
        return self._image.reduce(self._supersampling)


def backdrop(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw nothing, translucent stripes or translucent circles over the gradient."""
    veil = (*WHITE, int(rng.integers(40, 110)))
    kind = rng.choice(["plain", "stripes", "circles"], p=[0.5, 0.2, 0.3])
    if kind == "stripes":
        slope = rng.uniform(-0.8, 0.8)
        for x in np.arange(-2, 2, rng.uniform(0.3, 0.6)):
            canvas.stroke(np.array([(x - slope, -1.1), (x + slope, 1.1)]), veil, rng.uniform(0.1, 0.2))
    elif kind == "circles":
        for x, y, radius in rng.uniform((-1, -1, 0.1), (1, 1, 0.4), size=(7, 3)):
            canvas.fill(ellipse(x, y, radius, radius), veil)


def body(canvas: Canvas, skin: Tones, cloth: Tones, rng: np.random.Generator) -> None:
    """Draw the neck in the chin's shadow, the shoulders, and one of three collars."""
    canvas.fill(symmetric([(0.17, 0.5), (0.17, 0.95), (0.4, 1.6)]), skin.shade)
    drop = rng.uniform(0.86, 0.98)
    canvas.fill(rounded(symmetric([(0.16, drop), (0.3, drop), (0.8, 1.05), (1.1, 1.7)])), cloth.base)
    kind = rng.integers(3)
    if kind == 0:
        canvas.fill(symmetric([(0.0, drop + 0.3), (0.16, drop - 0.04)]), skin.base)
    elif kind == 1:
        for side in (-1, 1):
            flap = np.array([(0.0, drop + 0.22), (0.2, drop - 0.08), (0.45, drop + 0.12)])
            canvas.fill(flap * (side, 1), cloth.light)
    else:
        canvas.fill(ellipse(0, drop + 0.03, 0.24, 0.08), cloth.dark)


def head(canvas: Canvas, skin: Tones, rng: np.random.Generator) -> None:
    """Draw the ears and the outline of the face; width, jaw and chin vary."""
    width, jaw, chin = rng.uniform((0.58, 0.4, 0.7), (0.65, 0.52, 0.82))
    for side in (-1, 1):
        canvas.fill(ellipse(side * (width + 0.02), 0.17, 0.1, 0.17), skin.shade)
    half = [(0.3, -0.75), (width, -0.5), (width + 0.03, 0.2), (jaw, 0.62), (0.07, chin + 0.02)]
    outline = rounded(symmetric(half))
    canvas.fill(outline * 1.025, skin.dark)
    canvas.fill(outline, skin.base)


def cheeks(canvas: Canvas, skin: Tones, rng: np.random.Generator) -> None:
    """Draw the nose and one of three strengths of blush."""
    canvas.fill(ellipse(0.02, 0.42, 0.025, 0.02), skin.shade)
    blush = (240, 90, 90, int(rng.choice([0, 40, 80])))
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.4, 0.42, 0.14, 0.07), blush)


def mouth(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw one of five mouths."""
    y, width = rng.uniform((0.54, 0.09), (0.59, 0.17))
    left, right = (-width, y), (width, y)
    lip, inside = (150, 60, 60), (190, 60, 70)
    kind = rng.choice(["smile", "laugh", "pout", "cat", "round"])
    if kind == "smile":
        canvas.fill(crescent(left, right, 0.06, 0.025), lip)
    elif kind == "laugh":
        canvas.fill(crescent(left, right, 0.15, 0.0), lip)
        canvas.fill(crescent((-0.8 * width, y + 0.02), (0.8 * width, y + 0.02), 0.11, 0.03), (235, 120, 120))
    elif kind == "pout":
        canvas.fill(crescent(left, right, -0.045, -0.01), lip)
    elif kind == "cat":
        for side in (-1, 1):
            canvas.fill(crescent((0, y), (side * width, y - 0.01), 0.06, 0.02), lip)
    else:
        canvas.fill(ellipse(0, y + 0.02, 0.05, rng.uniform(0.04, 0.09)), inside)


@dataclass(frozen=True)
class EyeShape:
    """Position of the eyes (mirrored in x), half sizes of the iris, and sizes of lids, pupil and gloss.

    ``slant`` moves the outer corner down; ``pupil`` is a fraction of the iris.
    """

    x: float
    y: float
    iris_x: float
    iris_y: float
    slant: float
    lash: float
    pupil: float
    gloss: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> EyeShape:
        """Draw a shape at random; the iris covers at least 4 x 5 pixels of a 32 px image."""
        low = (0.29, 0.15, 0.135, 0.175, -0.06, 0.05, 0.3, 0.035)
        high = (0.33, 0.19, 0.17, 0.225, 0.05, 0.1, 0.5, 0.06)
        return cls(*rng.uniform(low, high))


def eye(canvas: Canvas, iris: Tones, shape: EyeShape, side: int) -> None:
    """Draw one eye: white, iris from dark (top) to light (bottom), pupil, gloss, lids and a lash at the corner."""
    x, y = side * shape.x, shape.y
    rx, ry = shape.iris_x, shape.iris_y
    inner, outer = (x - side * (rx + 0.05), y - 0.03), (x + side * (rx + 0.08), y - 0.03 + shape.slant)
    canvas.fill(crescent(inner, outer, -ry * 0.95, ry), (250, 248, 252))
    canvas.fill(ellipse(x, y, rx, ry), iris.dark)
    canvas.fill(ellipse(x, y, 0.88 * rx, 0.92 * ry), iris.base)
    canvas.fill(ellipse(x, y + 0.5 * ry, 0.6 * rx, 0.33 * ry), iris.light)
    canvas.fill(ellipse(x, y, shape.pupil * rx, shape.pupil * ry), iris.dark)
    canvas.fill(
        crescent((x - 0.95 * rx, y - 0.25 * ry), (x + 0.95 * rx, y - 0.25 * ry), -0.75 * ry, -0.1 * ry), iris.dark
    )
    # Both eyes catch the same light, so the gloss sits on the same side in both.
    canvas.fill(ellipse(x - 0.4 * rx, y - 0.38 * ry, shape.gloss, 1.2 * shape.gloss), WHITE)
    canvas.fill(ellipse(x + 0.4 * rx, y + 0.45 * ry, 0.5 * shape.gloss, 0.5 * shape.gloss), WHITE)
    wing = (outer[0] + side * 0.05, outer[1] - 0.02)
    canvas.fill(crescent(inner, wing, -ry * 0.95 - shape.lash, -ry * 0.95 + 0.02), LASH)
    canvas.fill(crescent((x - 0.6 * rx, y + ry), (x + 0.6 * rx, y + ry), 0.03, 0.01), LASH)


def brows(canvas: Canvas, hair: Tones, rng: np.random.Generator) -> None:
    """Draw both brows with the same tilt, translucent over the fringe as in anime."""
    lift, tilt, thick = rng.uniform((-0.24, -0.06, 0.02), (-0.17, 0.06, 0.045))
    for side in (-1, 1):
        start, end = (side * 0.16, lift + tilt), (side * 0.48, lift - tilt)
        canvas.fill(crescent(start, end, -0.03 - thick, -0.03), (*hair.dark, 190))
