"""System F: conditional DCGAN on the combinations of tags that occur in the data.

All values are from the report. On other data the table of combinations is built from the data, in order of appearance.
"""

from search_spaces import dimensions as shared
from search_spaces.dcgan import DCGAN
from search_spaces.dimensions import choice
from search_spaces.space import Space

COMBO_DCGAN = Space(
    name="combo_dcgan",
    summary="F: conditional DCGAN on 119 hair/eye combinations, 64x64",
    recipe={
        **DCGAN.recipe,
        "system": "combo_dcgan",
        "tags.encoding": "pairs",
        "generator.conditioning": "code",
        "discriminator.conditioning": "combo",
    },
    notes={},
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("tags.encoding", "pairs", "one_hot", claim="22 (F) ours: a place per combination against one per tag"),
        choice(
            "discriminator.conditioning",
            "combo",
            "map",
            "concat",
            "projection",
            claim="18 (D) Concatenating tags to dense features avoids the collapse that expanding them causes",
        ),
        choice("losses.wrong_tags", "none", "balanced", "data", claim="17 (D) F has no wrong-tag term"),
        *shared.update_ratio(),
        *shared.learning_rates(2e-5, 2e-5),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
