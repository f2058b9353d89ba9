"""Weights files of feature networks, read without running code that may be in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path


def read_state(path: Path) -> dict[str, Any]:
    """Read a state dict from a file.

    Raises:
        UserError: the file is missing, holds more than tensors, or holds no state dict.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights file {path} does not exist") from None
    except Exception as error:
        raise UserError(f"cannot read weights file {path}: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"weights file {path} holds a {type(state).__name__}, not a state dict of named tensors")
    return state


def short_hash(data: bytes) -> str:
    """First 16 hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]
