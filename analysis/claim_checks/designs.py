"""The cheapest runs that answer each claim: the recipe of the report's own system against it with one value changed.

Both are trained on the same seeds, so that they compare in pairs. Scores and directions are those of the claim's parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

PAIRS: Final = 6
"""Fewest pairs: at five, the 95% interval of their mean difference still reaches 2.8 standard errors to either side."""


@dataclass(frozen=True)
class Design:
    """Paired runs that answer a claim."""

    system: str
    values: tuple[str, ...] = ()
    """``NAME=VALUE`` each: what is changed in the recipe; none where runs of the recipe alone answer."""

    def command(self, sweep: str, pairs: int = PAIRS, dimensions: Collection[str] | None = None) -> str:
        """Return the command that trains them, given a sweep of the system that has run its recipe.

        Args:
            sweep: its name.
            pairs: seeds in all, with those that have been run.
            dimensions: the values' dimensions, if not all of them. The command is empty if none of them is.
        """
        if not self.values:
            return f"gansweep confirm {sweep} --top 1 --seeds {pairs}"
        values = [value for value in self.values if dimensions is None or value.partition("=")[0] in dimensions]
        changes = " ".join(f"--with {value}" for value in values)
        return f"gansweep ablate {sweep} {changes} --seeds {pairs}" if values else ""

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return {
            "system": self.system,
            "values": list(self.values),
            "pairs": PAIRS,
            "command": self.command("NAME"),
        }


DESIGNS: Final = {
    "1": Design("acgan", ("generator.width=32", "discriminator.width=32")),
    "2": Design("acgan", ("discriminator.conditioning=concat",)),
    "3": Design("acgan", ("generator.final_norm=true",)),
    "4": Design("acgan", ("generator.embedding_noise=0.05",)),
    "5": Design("acgan", ("generator.final_activation=leaky_relu",)),
    "6": Design("acgan", ("generator.embedding_dim=4", "generator.noise_dim=64")),
    "7": Design("acgan", ("generator.oversize=true",)),
    "8": Design("dcgan", ("losses.labels=noisy", "losses.labels=soft")),
    "9a": Design("acgan", ("updates.generator_steps=4",)),
    "9b": Design("dcgan", ("updates.discriminator_steps=3",)),
    "9c": Design("cdcgan", ("updates.generator_steps=2", "updates.discriminator_steps=2")),
    "10": Design("acgan", ("losses.adversarial_weight=4", "losses.tag_weight=4")),
    "11": Design("acgan", ("training.extra_data=true",)),
    "12": Design("srresnet_acgan", ("losses.penalty=none", "discriminator.spectral_norm=true")),
    "13": Design(
        "srresnet_acgan",
        ("generator.architecture=dcgan", "discriminator.architecture=dcgan", "generator.blocks=4"),
    ),
    "14a": Design("matching_wgan", ("losses.adversarial=bce",)),
    "14b": Design("wgan_gp"),
    "15": Design("matching_wgan", ("generator.init=normal", "discriminator.init=normal")),
    "16": Design("matching_wgan", ("generator.first_layer=convolution",)),
    "17": Design("cdcgan", ("losses.wrong_tags=data",)),
    "18": Design("cdcgan", ("discriminator.conditioning=map",)),
    "19": Design("dcgan", ("optimizer.generator_lr=0.0002", "optimizer.discriminator_lr=0.0002")),
    "20": Design("dcgan", ("generator.dropout=0.5",)),
    "21": Design("cyclegan", ("losses.adversarial=bce",)),
    "22": Design("combo_dcgan"),
}
"""By claim. 23 and 24 have none: no score or figure measures them."""
