"""One normalisation of class words for all readers: case, underscores, spaces and spelling variants."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPELLINGS: Final = {"grey": "gray", "blond": "blonde", "colour": "color", "coloured": "colored"}
_FOREIGN: Final = re.compile(r"[^\w .+-]+")
LONGEST: Final = 64
"""Characters of the longest name of a group or class."""
TWO_COLOURED: Final = frozenset({
    "heterochromia", "heterochromatic", "two-coloured", "two-colored", "two-tone", "multi-colored", "multicolored",
    "multicoloured", "multi-coloured", "gradient", "streaked", "split-color", "rainbow", "mismatched", "odd",
})  # fmt: skip
"""Words of image boards for more than one colour at once."""
NOT_COLOURS: Final = frozenset({
    "long", "medium", "short", "messy", "wavy", "curly", "straight", "spiked", "spiky", "braided", "tied", "wet",
    "floating", "shiny", "big", "drill", "twin", "hime", "parted", "asymmetrical", "folded", "pubic", "chest",
    "body", "facial", "holding", "adjusting", "brushing", "touching", "playing", "over", "between", "in", "with",
    "closed", "half-closed", "narrowed", "empty", "wide", "rolling", "crossed", "hidden", "covered", "covering",
    "glowing", "sparkling", "bright", "crying", "teary", "tearful", "bulging", "button", "symbol-shaped", "x-shaped",
    "heart-shaped", "slit", "red-rimmed", "animal", "cat", "rubbing", "tsurime", "tareme", "jitome", "sanpaku",
})  # fmt: skip
"""Last words before the noun in tags that say nothing of its colour ("very long hair", "hair over eyes").

Listed are these rather than the colours: a word that nobody foresaw is then counted and named as unknown, where a
list of colours would pass over a misspelt or new one in silence.
"""


def canonical(text: str) -> str:
    """``"Light_Grey "`` -> ``"light gray"``: lower case, single spaces, one spelling."""
    words = unicodedata.normalize("NFC", text).lower().replace("_", " ").split()
    return " ".join(_SPELLINGS.get(word, word) for word in words)


def class_name(text: str) -> str:
    """Canonical form of a class in the characters that a vocabulary allows; empty where none is left."""
    name = _FOREIGN.sub(" ", canonical(text))
    return " ".join(name.split())[:LONGEST].strip().lstrip(".+- ")


def group_name(text: str) -> str:
    """Name of a group after a column: lower case; underscores stay, since people refer to it by the column's name."""
    name = _FOREIGN.sub(" ", unicodedata.normalize("NFC", text).lower())
    return " ".join(name.split())[:LONGEST].strip().lstrip(".+- ")


def match_class(word: str, classes: Sequence[str]) -> str | None:
    """Find the class that a word means, in whichever spelling either is written."""
    if word in classes:
        return word
    wanted = canonical(word)
    return next((name for name in classes if canonical(name) == wanted), None)
