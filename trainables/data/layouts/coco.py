"""COCO annotations: of each image the one category, or that of the largest box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.data.defects import Defect
from trainables.data.discovery.resolve import raw_rows
from trainables.data.discovery.rows import RawLabels
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, labelled, path_id, read_json
from trainables.data.words import class_name
from trainables.errors import UserError

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.tags import Vocabulary

_PARTS = ("images", "annotations", "categories")
GROUP = "category"


class Coco:
    """JSON files with images, annotations and categories."""

    name = "COCO"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read all such files at the root or in a folder ``annotations``."""
        files, rows, defects, broken = [], [], [], []
        for name in listing.others(".json"):
            if "/" in name and not name.lower().startswith("annotations/"):
                continue
            try:
                content = read_json(listing, name)
            except UserError as error:
                if "/" in name:  # a file at the top may be of another layout
                    broken.append(str(error))
                continue
            if isinstance(content, dict) and all(isinstance(content.get(part), list) for part in _PARTS):
                found, faults = _read(content)
                rows += found
                defects += faults
                files.append(name)
        if not files:
            if broken:
                raise UnusableLabelsError(broken[0])
            return None
        if not rows:
            raise UnusableLabelsError(f"{listing.place(files[0])}: no annotation fits an image and a category")
        labels = RawLabels(raw_rows((key, GROUP, word) for key, word in rows), defects=tuple(defects))
        return labelled(self.name, listing, labels, vocabulary, files)


def _read(content: dict[str, list[Any]]) -> tuple[list[tuple[str, str]], list[Defect]]:
    defects: list[Defect] = []
    images = _by_id(content["images"], "file_name", defects)
    categories = {number: class_name(text) for number, text in _by_id(content["categories"], "name", defects).items()}
    largest: dict[Any, tuple[float, str]] = {}
    for place, annotation in enumerate(content["annotations"]):
        about = annotation if isinstance(annotation, dict) else {}
        image, category = _key(about.get("image_id")), _key(about.get("category_id"))
        if image is None or image not in images:
            defects.append(Defect("unreadable row", f"annotation {place}", "names no image"))
        elif category is None or not categories.get(category):
            defects.append(Defect("label out of range", images[image], f"annotation {place} names no category"))
        else:
            largest[image] = max(largest.get(image, (-1.0, "")), (_area(about), categories[category]))
    rows = []
    for number, (_, word) in largest.items():
        if (key := path_id(images[number])) is None:
            defects.append(Defect("unreadable row", images[number], "no image id"))
        else:
            rows.append((key, word))
    return rows, defects


def _key(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _by_id(entries: list[Any], field: str, defects: list[Defect]) -> dict[int | str, str]:
    found: dict[int | str, str] = {}
    for place, entry in enumerate(entries):
        about = entry if isinstance(entry, dict) else {}
        number, text = _key(about.get("id")), about.get(field)
        if number is None or not isinstance(text, str):
            defects.append(Defect("unreadable row", f"{field} {place}", f"expected an id and a {field}"))
        elif number in found:
            defects.append(Defect("duplicate id", f"{field} {number}"))
        else:
            found[number] = text
    return found


def _area(annotation: dict[str, Any]) -> float:
    box = annotation.get("bbox")
    values = [*box[2:4]] if isinstance(box, list) and len(box) == 4 else []
    area = annotation.get("area")
    if len(values) == 2 and all(isinstance(value, int | float) for value in values):
        return float(min(abs(values[0] * values[1]), 1e18))
    return float(min(abs(area), 1e18)) if isinstance(area, int | float) else 0.0
