"""All layouts, in the order in which they are tried: those that say most about themselves first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trainables.data.layouts.coco import Coco
from trainables.data.layouts.folders import ClassFolders, DomainFolders
from trainables.data.layouts.hf_metadata import HuggingFaceMetadata
from trainables.data.layouts.json_records import CaptionFile, DanbooruPosts
from trainables.data.layouts.parquet import ParquetShards
from trainables.data.layouts.sidecars import Sidecars
from trainables.data.layouts.stylegan import StyleGanDataset
from trainables.data.layouts.tables import Submissions, Tables
from trainables.data.layouts.webdataset import WebDataset
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.layouts.base import LabelledSource, Layout
    from trainables.data.tags import Vocabulary

LAYOUTS: Final[tuple[Layout, ...]] = (
    ParquetShards(),
    HuggingFaceMetadata(),
    StyleGanDataset(),
    Coco(),
    DanbooruPosts(),
    CaptionFile(),
    Tables(),
    WebDataset(),
    Sidecars(),
    DomainFolders(),
    ClassFolders(),
    Submissions(),
)


def read_labels(listing: Listing, vocabulary: Vocabulary | None) -> tuple[LabelledSource | None, list[str]]:
    """Read a data set in the first layout that gives labels; and why others that it seemed to be in gave none."""
    refusals: list[str] = []
    for layout in LAYOUTS:
        try:
            if found := layout.read(listing, vocabulary):
                return found, refusals
        except UserError as error:
            refusals.append(first_line(error))
    return None, refusals
