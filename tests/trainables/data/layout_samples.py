"""Data sets of drawn faces in every layout in which people keep labelled images."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from trainables.data.synthetic import draw_faces, sample_labels
from trainables.data.tags import REPORT_VOCABULARY

HAIR, EYES = (group.classes for group in REPORT_VOCABULARY.groups)
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Face:
    """A drawn image with its true classes; ``stem`` is its number with four digits."""

    stem: str
    hair: str
    eyes: str
    png: bytes


def make_faces(count: int, seed: int = 0) -> list[Face]:
    labels = sample_labels(count, seed)
    faces = []
    for number, (pixels, (hair, eyes)) in enumerate(zip(draw_faces(labels, seed, 16), labels.tolist(), strict=True), 1):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        faces.append(Face(f"{number:04d}", HAIR[hair], EYES[eyes], file.getvalue()))
    return faces


def both(faces: list[Face], hair: str = "hair", eyes: str = "eyes") -> Counts:
    return {hair: dict(Counter(f.hair for f in faces)), eyes: dict(Counter(f.eyes for f in faces))}


def one(faces: list[Face], name: str = "class") -> Counts:
    return {name: dict(Counter(face.hair for face in faces))}


def numbered(faces: list[Face]) -> Counts:
    return {"class": {str(HAIR.index(name)): count for name, count in Counter(f.hair for f in faces).items()}}


def yes_no(faces: list[Face], **attributes: Callable[[Face], bool]) -> Counts:
    return {name: dict(Counter(("no", "yes")[says(face)] for face in faces)) for name, says in attributes.items()}


def images(folder: Path, faces: list[Face], name: Callable[[Face], str] = lambda face: f"{face.stem}.png") -> None:
    for face in faces:
        path = folder / name(face)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(face.png)


def table(rows: list[list[object]], mark: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=mark, lineterminator=end).writerows(rows)
    return file.getvalue()


def words(faces: list[Face], *header: str, key: Callable[[Face], str] = lambda face: face.stem) -> list[list[object]]:
    return [list(header), *([key(face), face.hair, face.eyes] for face in faces)]


Build = Callable[[Path, list[Face]], tuple[Path, Counts]]
LAYOUTS: dict[str, Build] = {}


def layout(build: Build) -> Build:
    LAYOUTS[build.__name__] = build
    return build


@layout
def class_folders(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"{face.hair.title()}/deep/{int(face.stem) % 3}-{face.stem}.png")
    return folder, one(faces)


@layout
def class_folders_in_splits(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"{('train', 'val', 'test')[int(face.stem) % 3]}/{face.hair}/{face.stem}.png")
    return folder, one(faces)


@layout
def class_folders_of_kohya(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"{len(face.hair)}_{face.hair}/{face.stem}.png")
    return folder, one(faces)


@layout
def class_folders_in_zip(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    folder.mkdir()
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for face in faces:
            archive.writestr(f"faces/{face.hair}/{face.stem}.png", face.png)
    return folder / "faces.zip", one(faces)


def soup(face: Face) -> str:
    long = ("long", "short")[int(face.stem) % 2]
    return f"1girl, solo, {long}_hair, {face.hair}_hair, {face.eyes} eyes, looking at viewer"


@layout
def sidecar_txt(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    for face in faces:
        (folder / f"{face.stem}.txt").write_text(soup(face) + "\n")
    lengths = Counter(("long", "short")[int(face.stem) % 2] for face in faces)
    return folder, {**both(faces), "hair 2": dict(lengths)}


@layout
def sidecar_caption(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"sub/{face.stem}.png")
    for face in faces:
        (folder / f"sub/{face.stem}.caption").write_text(f"{face.hair} hair, {face.eyes} eyes")
    return folder, both(faces)


@layout
def caption_json(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    about = {f"{f.stem}.png": {"caption": "a face", "tags": f"{f.hair} hair, {f.eyes} eyes"} for f in faces}
    (folder / "meta.json").write_text(json.dumps(about))
    return folder, both(faces)


@layout
def caption_jsonl(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    lines = [
        json.dumps({"image_path": f"/data/{f.stem}.png"[1:], "tags": f"{f.hair}_hair, {f.eyes}_eyes"}) for f in faces
    ]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder, both(faces)


@layout
def hf_metadata_csv(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    rows = words(faces, "file_name", "hair", "eye_color", key=lambda face: f"{face.stem}.png")
    (folder / "metadata.csv").write_text(table(rows))
    return folder, both(faces, eyes="eye_color")


@layout
def hf_metadata_jsonl_in_splits(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    for split, part in (("train", faces[::2]), ("test", faces[1::2])):
        images(folder / split, part)
        lines = [json.dumps({"file_name": f"{f.stem}.png", "hair": f.hair, "eyes": f.eyes}) for f in part]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    return folder, both(faces)


@layout
def hf_metadata_parquet(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    columns = {"file_name": [f"{f.stem}.png" for f in faces], "label": [f.hair for f in faces]}
    pq.write_table(pa.table(columns), folder / "metadata.parquet")
    return folder, one(faces, "label")


def shard(faces: list[Face]) -> pa.Table:
    features = {"label": {"names": list(HAIR), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    pictures = [{"bytes": face.png, "path": f"{face.stem}.png"} for face in faces]
    return pa.table({"image": pictures, "label": [HAIR.index(face.hair) for face in faces]}, schema=schema)


@layout
def parquet_shards(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    (folder / "data").mkdir(parents=True)
    for number, part in enumerate((faces[:7], faces[7:])):
        pq.write_table(shard(part), folder / f"data/train-{number:05d}-of-00002.parquet", row_group_size=5)
    return folder, one(faces, "label")


@layout
def parquet_file_with_flags(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    folder.mkdir()
    says = {"Dark_Hair": lambda f: f.hair in HAIR[6:], "Young": lambda f: int(f.stem) % 2 == 0}
    columns = {name: [test(face) for face in faces] for name, test in says.items()}
    pq.write_table(pa.table({"image": [face.png for face in faces], **columns}), folder / "faces.parquet")
    return folder / "faces.parquet", yes_no(faces, dark_hair=says["Dark_Hair"], young=says["Young"])


def chunked(face: Face) -> str:
    return f"0000{int(face.stem) % 2}/img{face.stem}.png"


@layout
def stylegan_folder(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, chunked)
    labels = [[chunked(face), HAIR.index(face.hair)] for face in faces]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder, numbered(faces)


def stylegan_zip(folder: Path, faces: list[Face], label: Callable[[Face], object]) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for face in faces:
            archive.writestr(chunked(face), face.png)
        archive.writestr("dataset.json", json.dumps({"labels": [[chunked(face), label(face)] for face in faces]}))
    return folder / "faces.zip"


@layout
def stylegan_zip_of_classes(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    return stylegan_zip(folder, faces, lambda face: HAIR.index(face.hair)), numbered(faces)


@layout
def stylegan_zip_of_one_hot(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    path = stylegan_zip(folder, faces, lambda face: [float(name == face.hair) for name in HAIR])
    return path, numbered(faces)


@layout
def stylegan_zip_of_vectors(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    dark, even = (lambda f: f.hair in HAIR[6:]), (lambda f: int(f.stem) % 2 == 0)
    path = stylegan_zip(folder, faces, lambda face: [float(dark(face)), float(even(face))])
    return path, yes_no(faces, **{"label 0": dark, "label 1": even})


def csv_of_words(folder: Path, faces: list[Face], content: bytes) -> tuple[Path, Counts]:
    images(folder, faces)
    (folder / "labels.csv").write_bytes(content)
    return folder, both(faces, "hair_color", "eye_color")


HEADER = ("image_id", "hair_color", "eye_color")


@layout
def csv_with_commas_bom_and_crlf(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    return csv_of_words(folder, faces, ("\ufeff" + table(words(faces, *HEADER), end="\r\n")).encode())


@layout
def csv_with_semicolons_in_utf16(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    return csv_of_words(folder, faces, table(words(faces, *HEADER), mark=";").encode("utf-16"))


@layout
def csv_with_tabs_suffixes_and_folders(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    rows = words(faces, *HEADER, key=lambda face: f"faces/{face.stem}.jpg")
    return csv_of_words(folder, faces, table(rows, mark="\t").encode())


@layout
def csv_one_hot_in_splits(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    """``train/_classes.csv``, as Roboflow exports classes."""
    for split, part in (("train", faces[::2]), ("valid", faces[1::2])):
        images(folder / split, part)
        rows = [[f"{face.stem}.png", *(int(face.hair == word) for word in HAIR)] for face in part]
        (folder / split / "_classes.csv").write_text(table([["filename", *(f" {word}" for word in HAIR)], *rows]))
    return folder, one(faces)


@layout
def csv_with_absolute_paths(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    """Paths of another machine."""
    rows = words(faces, *HEADER, key=lambda face: f"/home/someone/faces/{face.stem}.png")
    return csv_of_words(folder, faces, table(rows).encode())


@layout
def csv_with_pandas_index(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    rows = words(faces, *HEADER)
    return csv_of_words(folder, faces, table([["", *rows[0]], *([n, *row] for n, row in enumerate(rows[1:]))]).encode())


@layout
def csv_with_quoted_line_breaks(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    rows = words(faces, *HEADER)
    content = table([[*rows[0], "note"], *([*row, "two\nlines"] for row in rows[1:])])
    return csv_of_words(folder, faces, content.encode())


def one_hot(folder: Path, faces: list[Face], name: str, bits: tuple[object, object], order: int) -> None:
    images(folder, faces)
    hair = [word for word in HAIR if any(face.hair == word for face in faces)][::order]
    eyes = [word for word in EYES if any(face.eyes == word for face in faces)][::order]
    header = ["file", *(name.format(word, "hair") for word in hair), *(name.format(word, "eyes") for word in eyes)]
    rows = [
        [face.stem, *(bits[face.hair == word] for word in hair), *(bits[face.eyes == word] for word in eyes)]
        for face in faces
    ]
    (folder / "labels.csv").write_text(table([header, *rows]))


@layout
def csv_one_hot(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    one_hot(folder, faces, "{1}_{0}", (0, 1), order=-1)
    return folder, both(faces)


@layout
def csv_of_true_and_false(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    one_hot(folder, faces, "{0} {1}", (False, True), order=1)
    return folder, both(faces)


@layout
def csv_of_signs(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    dark, even = (lambda f: f.hair in HAIR[6:]), (lambda f: int(f.stem) % 2 == 0)
    rows = [[f"{face.stem}.jpg", 2 * dark(face) - 1, 2 * even(face) - 1] for face in faces]
    (folder / "list.csv").write_text(table([["image_id", "Dark", "Even"], *rows]))
    return folder, yes_no(faces, dark=dark, even=even)


@layout
def danbooru(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"{int(face.stem) % 1000:04d}/{int(face.stem)}.png")
    posts = [
        {"id": int(f.stem), "file_ext": "png", "tag_string_general": f"1girl {f.hair}_hair {f.eyes}_eyes"}
        for f in faces
    ]
    posts.append({"id": 10**6, "file_ext": "png", "tag_string_general": "1girl red_hair"})  # not downloaded
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, posts)))
    return folder, both(faces)


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def cls_members(faces: list[Face]) -> list[tuple[str, bytes]]:
    return [
        member
        for face in faces
        for member in ((f"{face.stem}.png", face.png), (f"{face.stem}.cls", str(HAIR.index(face.hair)).encode()))
    ]


@layout
def webdataset_tar(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    return tar(folder / "faces-000000.tar", cls_members(faces)), numbered(faces)


@layout
def webdataset_shards(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    """The same keys in both shards."""
    second = [
        (f"{number:04d}.{name.partition('.')[2]}", content)
        for number, pair in enumerate(zip(*[iter(cls_members(faces[9:]))] * 2, strict=True), 1)
        for name, content in pair
    ]
    tar(folder / "faces-000000.tar", cls_members(faces[:9]))
    tar(folder / "faces-000001.tar", second)
    return folder / "faces-{000000..000001}.tar", numbered(faces)


@layout
def webdataset_of_json(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    members = []
    for face in faces:
        about = json.dumps({"hair": face.hair, "eyes": face.eyes}).encode()
        members += [(f"a/{face.stem}.png", face.png), (f"a/{face.stem}.json", about)]
    tar(folder / "faces.tar", members)
    return folder, both(faces)


@layout
def coco(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"images/{face.stem}.png")
    about = {
        "images": [{"id": int(face.stem), "file_name": f"{face.stem}.png"} for face in faces],
        "annotations": [
            {"image_id": int(face.stem), "category_id": category, "bbox": [0, 0, side, side]}
            for face in faces
            for category, side in ((HAIR.index(face.hair), 9), (0, 2))
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(HAIR)],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations/instances.json").write_text(json.dumps(about))
    return folder, one(faces, "category")


@layout
def tag_list(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"faces/{face.stem}.png")
    (folder / "tags.csv").write_text("".join(f"{f.stem},{f.hair} hair {f.eyes} eyes\n" for f in faces))
    return folder, both(faces)


@layout
def counted_tags(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    rows = [f"{f.stem},{f.hair} hair:25\tdoll:3\t{f.eyes} eyes:7\t\n" for f in faces]
    (folder / "tags_clean.csv").write_text("".join(rows))
    return folder, both(faces)


@layout
def phrases_of_other_groups(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces)
    (folder / "tags.csv").write_text("".join(f"{f.stem},{f.hair} hat {f.eyes} shoes\n" for f in faces))
    return folder, both(faces, "hat", "shoes")


@layout
def celeba(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"img/{face.stem}.png")
    dark, even = (lambda f: f.hair in HAIR[6:]), (lambda f: int(f.stem) % 2 == 0)
    rows = [f"{f.stem}.jpg  {2 * dark(f) - 1}  {2 * even(f) - 1}\n" for f in faces]
    (folder / "list_attr.txt").write_text(f"{len(faces)}\nDark Even \n{''.join(rows)}")
    return folder, yes_no(faces, dark=dark, even=even)


@layout
def folders_of_two_domains(folder: Path, faces: list[Face]) -> tuple[Path, Counts]:
    images(folder, faces, lambda face: f"{'AB'[int(face.stem) % 2]}/{face.stem}.png")
    counts = Counter("ab"[int(face.stem) % 2] for face in faces)
    return folder, {"domain": dict(counts)}
