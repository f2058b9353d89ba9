"""Hair of a synthetic anime face: silhouettes behind the head, fringes in front of it, and gloss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.data.synthetic_parts import Canvas, Points, Tones, bend, crescent, lens, rounded, symmetric

Half = tuple[tuple[float, float], ...]
"""Right half of a symmetric outline, from top to bottom."""


@dataclass(frozen=True)
class BackHair:
    """A hair style behind the head: an outline, and optional bunches at its ``sides``."""

    half: Half
    bunch: Half = ()
    sides: tuple[int, ...] = (-1, 1)
    rounded: bool = True


_CAP: Half = ((0.25, -1.03), (0.68, -0.9), (0.92, -0.3), (0.8, 0.45), (0.5, 0.6))

BACK_HAIR = {
    "short": BackHair(_CAP),
    "bob": BackHair(((0.25, -1.03), (0.7, -0.9), (0.95, 0.0), (1.0, 0.7), (0.7, 0.85), (0.5, 0.7))),
    "long": BackHair(((0.25, -1.03), (0.7, -0.9), (0.95, -0.1), (0.98, 1.0), (1.1, 1.8))),
    "flared": BackHair(((0.25, -1.03), (0.68, -0.9), (0.86, 0.0), (1.1, 0.75), (1.35, 1.5))),
    "wavy": BackHair(
        ((0.25, -1.03), (0.75, -0.9), (0.85, -0.3), (1.1, 0.0), (0.85, 0.35), (1.15, 0.65), (0.9, 1.0), (1.2, 1.6))
    ),
    "spiky": BackHair(
        ((0.15, -0.9), (0.4, -1.15), (0.5, -0.85), (0.9, -0.85), (0.78, -0.55), (1.08, -0.3), (0.85, -0.1),
         (1.1, 0.25), (0.8, 0.3), (0.9, 0.7), (0.6, 0.5)),
        rounded=False,
    ),
    "twin tails": BackHair(_CAP, bunch=((0.7, -0.6), (1.1, -0.7), (1.35, 0.1), (1.05, 1.3), (1.0, 1.3), (0.95, 0.2))),
    "side tail": BackHair(
        _CAP, bunch=((0.65, -0.6), (1.0, -0.75), (1.25, 0.0), (0.95, 1.0), (0.9, 1.0), (0.9, 0.1)), sides=(1,)
    ),
    "buns": BackHair(_CAP, bunch=((0.4, -0.75), (0.55, -1.2), (1.0, -1.15), (1.0, -0.7), (0.7, -0.55))),
}  # fmt: skip


@dataclass(frozen=True)
class Fringe:
    """A row of locks: tips at ``tip + slope x + arch x^2``, notches ``depth`` above them, both shifted by ``sway``.

    ``part`` raises the notch nearest the centre and so opens the forehead.
    """

    locks: int
    tip: float
    depth: float
    slope: float = 0.0
    arch: float = 0.0
    sway: float = 0.0
    part: float = 0.0


FRINGES = {
    "blunt": Fringe(8, tip=-0.1, depth=0.07, arch=0.1),
    "feathered": Fringe(6, tip=-0.05, depth=0.25, arch=0.1),
    "ragged": Fringe(5, tip=-0.02, depth=0.4, arch=0.1, sway=0.1),
    "swept": Fringe(5, tip=-0.15, depth=0.25, slope=0.3, sway=0.2),
    "parted": Fringe(6, tip=-0.25, depth=0.2, arch=0.7, part=0.3),
    "curtains": Fringe(2, tip=-0.3, depth=0.1, arch=1.2, part=0.2),
    "nose lock": Fringe(5, tip=-0.08, depth=0.35, arch=-0.1),
}


def back_hair(canvas: Canvas, hair: Tones, rng: np.random.Generator) -> None:
    """Draw one of the styles behind the head, stretched at random, with strands."""
    style = BACK_HAIR[rng.choice(list(BACK_HAIR))]
    stretch = rng.uniform((0.94, 0.97), (1.05, 1.06))
    mirror = int(rng.choice((-1, 1)))
    for side in style.sides if style.bunch else ():
        bunch = rounded(np.array(style.bunch)) * stretch * (side * mirror, 1)
        canvas.fill(bunch, hair.dark)
        canvas.fill((bunch - bunch.mean(axis=0)) * 0.93 + bunch.mean(axis=0), hair.base)
    outline = symmetric(style.half) * stretch
    outline = rounded(outline) if style.rounded else outline
    canvas.fill(outline, hair.dark)
    canvas.fill(outline * 0.965, hair.shade)
    for x in rng.uniform(0.66, 0.8, size=4) * (1, 1, -1, -1):
        canvas.fill(lens((0.9 * x, -0.5), (x, 0.42), 0.02), hair.dark)


_DOME = bend([((-0.72, 0.02), (-0.84, -0.92), (0.0, -0.98)), ((0.0, -0.98), (0.84, -0.92), (0.72, 0.02))])


def _zigzag(style: Fringe, rng: np.random.Generator) -> Points:
    """Lower edge of a fringe from the right temple to the left: (m, 2)."""
    lean = int(rng.choice((-1, 1)))

    def height(x: Points) -> Points:
        return style.tip + lean * style.slope * x + style.arch * x**2

    edges = np.linspace(0.68, -0.68, style.locks + 1)
    edges[1:-1] += rng.uniform(-0.05, 0.05, style.locks - 1)
    notches = np.stack([edges, height(edges) - style.depth], axis=1)
    notches[np.abs(edges).argmin(), 1] -= style.part
    notches[[0, -1], 1] = 0.0

    middles = (edges[:-1] + edges[1:]) / 2 + lean * style.sway
    tips = np.stack([middles, height(middles) + rng.uniform(-0.05, 0.05, style.locks)], axis=1)
    over_eye = (np.abs(middles) > 0.12) & (np.abs(middles) < 0.55)
    tips[:, 1] = np.where(over_eye, np.minimum(tips[:, 1], -0.02), tips[:, 1])  # keep the iris visible

    swing = (0.3 * lean * style.sway, 0.05)
    down = np.stack([notches[:-1], (notches[:-1] + tips) / 2 + swing, tips], axis=1)
    up = np.stack([tips, (tips + notches[1:]) / 2 + swing, notches[1:]], axis=1)
    return bend(np.stack([down, up], axis=1).reshape(-1, 3, 2))


def fringe_outline(rng: np.random.Generator) -> Points:
    """Outline (n, 2) of the hair in front of the head: the crown, closed by one of the fringes."""
    style = FRINGES[rng.choice(list(FRINGES))]
    return np.concatenate([_DOME, _zigzag(style, rng)])


def front_hair(canvas: Canvas, outline: Points, hair: Tones, rng: np.random.Generator) -> None:
    """Draw crown and fringe, strands, gloss and, with probability 0.8, side locks."""
    canvas.fill(np.add(outline * (1.02, 1.0), (0.0, 0.02)), hair.dark)
    canvas.fill(outline, hair.base)
    for x in rng.uniform(-0.55, 0.55, size=4):
        canvas.fill(lens((0.35 * x, -0.85), (x, -0.25), 0.03), hair.shade)
    height, thick = rng.uniform((-0.68, 0.03), (-0.5, 0.1))
    for left, right in rng.uniform((-0.6, -0.2), (-0.44, -0.04)), rng.uniform((-0.08, 0.36), (0.08, 0.52)):
        ends = (left, height + 0.3 * left**2), (right, height + 0.3 * right**2)
        canvas.fill(crescent(*ends, -0.03 - thick, -0.03), hair.light)
    if rng.random() < 0.8:
        length, spread = rng.uniform((0.15, 0.58), (1.0, 0.74))
        for side in (-1, 1):
            side_lock(canvas, hair, side, length + rng.uniform(-0.08, 0.08), spread)


def side_lock(canvas: Canvas, hair: Tones, side: int, length: float, spread: float) -> None:
    """Draw a lock in front of the ear, from the temple down to y = ``length``."""
    tip = (spread, length)
    outer = ((0.78, -0.3), (0.9, 0.5 * length), tip)
    inner = (tip, (0.62, 0.3 * length), (0.56, -0.35))
    lock = bend([outer, inner]) * (side, 1)
    canvas.fill(lock - (0.025 * side, 0.0), hair.dark)
    canvas.fill(lock, hair.base)
