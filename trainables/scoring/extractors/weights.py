"""Weights files of feature networks, read without running code that may be in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path


def read_state(path: Path) -> dict[str, Any]:
    """Read a state dict from a file.

    Raises:
        UserError: the file is missing, holds more than tensors, or holds no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"weights file {path} does not exist") from None
    except Exception as error:
        raise UserError(f"cannot read weights file {path}: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"weights file {path} holds a {type(state).__name__}, not a state dict of named tensors")
    return state


def fetch_state(url: str, network: str, *, check_hash: bool = False) -> dict[str, Any]:
    """Download a state dict, once, to torch's folder of checkpoints; ``check_hash`` by the end of the file's name.

    Raises:
        UserError: it cannot be downloaded, or holds more than tensors.
    """
    try:
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=check_hash, weights_only=True)
    except Exception as error:
        raise UserError(
            f"cannot load {network} weights from the network (give a file with --weights where it cannot be "
            f"reached): {first_line(error)}"
        ) from error
    return state


def hash_file(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def short_hash(data: bytes) -> str:
    """First 16 hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]
