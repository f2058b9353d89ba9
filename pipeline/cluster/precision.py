"""``--precision auto``: bfloat16 where it has been measured to pay and to cost no quality, float32 elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cluster.ray_runtime import this_machine

if TYPE_CHECKING:
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.config import Precision

PROVEN = frozenset(("acgan", "dcgan", "lightgan"))
"""Systems that were at least 1.3 times as fast in bfloat16 on paired seeds, with a distance that is no more than 5%
higher. docs/explanation/speed.md has the table."""


def choose_precision(settings: SweepSettings, space: Space) -> tuple[Precision, str]:
    """Return the precision that all trials of the sweep have, and why if the settings leave it open, else ``""``."""
    if settings.precision != "auto":
        return settings.precision, ""
    if obstacle := find_obstacle(settings, space):
        return "float32", f"--precision auto: float32, because {obstacle}"
    return "bf16", "--precision auto: bf16, which this processor multiplies fast"


def find_obstacle(settings: SweepSettings, space: Space) -> str:
    """Return why trials should be trained in float32, or ``""``."""
    systems = next((one.choices for one in space.dimensions if one.name == "system"), (space.recipe["system"],))
    if others := [str(system) for system in systems if system not in PROVEN]:
        return f"bfloat16 has not been shown to pay for {', '.join(others)}"
    if settings.fuse not in ("off", "auto"):  # auto fuses on GPUs alone
        return f"trials of --fuse {settings.fuse} are one program, which does not mix number formats"
    if settings.address is not None:
        return "the processors of a cluster may differ"
    if settings.resource_request().gpus != 0 and this_machine().gpus:
        return "it has not been measured on GPUs"
    return "" if has_bfloat16() else "this processor has no bfloat16 matrix instructions (AMX)"


def has_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16; others would emulate it, and be slower."""
    import torch

    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
