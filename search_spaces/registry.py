"""Spaces by name: built-in spaces, and a user's spaces as ``module:NAME``."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.acgan import ACGAN
from search_spaces.anything import ANYTHING, ANYTHING_UNCONDITIONAL
from search_spaces.cdcgan import CDCGAN
from search_spaces.combo_dcgan import COMBO_DCGAN
from search_spaces.cyclegan import CYCLEGAN
from search_spaces.dcgan import DCGAN
from search_spaces.lightgan import LIGHTGAN
from search_spaces.matching_wgan import MATCHING_WGAN
from search_spaces.r3gan import R3GAN
from search_spaces.space import Space
from search_spaces.srresnet_acgan import SRRESNET_ACGAN
from search_spaces.stargan import STARGAN
from search_spaces.wgan_gp import WGAN_GP
from trainables.errors import UsageError, UserError, first_line, nearest

if TYPE_CHECKING:
    from types import ModuleType

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        ACGAN, SRRESNET_ACGAN, MATCHING_WGAN, CDCGAN, DCGAN, COMBO_DCGAN, WGAN_GP, LIGHTGAN, R3GAN, CYCLEGAN, STARGAN,
        ANYTHING, ANYTHING_UNCONDITIONAL,
    )
}  # fmt: skip


def find_space(name: str) -> Space:
    """Return the built-in space called ``name``, or the ``Space`` at ``module:NAME``.

    Raises:
        UsageError: the name is unknown; the message lists all names and suggests the nearest.
        UserError: the module cannot be imported or has no such space.
    """
    if ":" in name:
        return _load(*name.split(":", 1))
    if name not in SPACES:
        raise UsageError(f"unknown space {name!r}; known: {', '.join(SPACES)}{nearest(name, SPACES)}")
    return SPACES[name]


def _import(module: str) -> ModuleType:
    """Import an installed module, or else the file of that name in the working directory.

    The directory is not added to the import path: it may contain packages with the same names as ours.
    """
    file = Path(f"{module}.py")
    if importlib.util.find_spec(module) is None and file.is_file():
        spec = importlib.util.spec_from_file_location(module, file)
        if spec is not None and spec.loader is not None:
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            return loaded
    return importlib.import_module(module)


def _load(module: str, attribute: str) -> Space:
    try:
        space = getattr(_import(module), attribute)
    except UserError:
        raise
    except Exception as error:  # a user's module may raise any exception on import
        raise UserError(
            f"cannot load space {module}:{attribute}: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(space, Space):
        raise UserError(f"{module}:{attribute} is a {type(space).__name__}; a search_spaces.space.Space is needed")
    return space
