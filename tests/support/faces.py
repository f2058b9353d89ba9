"""Sizes of the data set of synthetic faces that tests share."""

from __future__ import annotations

SIZE, FACES, PARTIAL = 16, 96, 8
"""Side in pixels; number of images; number of further images whose tags are partly missing."""
