"""Zips, tars and parquet files are read in place: nothing is unpacked, links and ways out are named."""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainables.data.layout_samples import make_faces, one, shard, tar
from trainables.data.addresses import local_data
from trainables.data.archives import contents
from trainables.data.archives.listing import Listing
from trainables.data.dataset import load_folder
from trainables.data.inspect import inspect_folder
from trainables.data.layouts import parquet
from trainables.errors import UserError

FACES = make_faces(24)


def packed(path: Path, *more: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for face in FACES:
            archive.writestr(f"{face.hair}/{face.stem}.png", face.png)
        for name, content in more:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../evil.png", "red/../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_members_that_lead_out_are_named_and_nothing_is_written(tmp_path, name) -> None:
    (tmp_path / "a").mkdir()
    path = packed(tmp_path / "a" / "faces.zip", (name, FACES[0].png))
    before = sorted(tmp_path.rglob("*"))
    report = inspect_folder(path, 16)
    assert (report["complete"], report["refusal"]) == (24, None)
    assert report["defects"]["unsafe member"]["count"] == 1
    other = tar(tmp_path / "a" / "t.tar", [*((f"{f.hair}/{f.stem}.png", f.png) for f in FACES), (name, FACES[0].png)])
    assert inspect_folder(other, 16)["defects"]["unsafe member"]["count"] == 1
    assert sorted(tmp_path.rglob("*")) == sorted([*before, other])


def test_members_without_a_name_are_named(tmp_path) -> None:
    members = [(f"{face.hair}/{face.stem}.png", face.png) for face in FACES]
    path = packed(tmp_path / "faces.zip", (zipfile.ZipInfo(""), FACES[0].png), (".", FACES[0].png))
    for archive in (path, tar(tmp_path / "faces.tar", [*members, ("", FACES[0].png), ("./", FACES[0].png)])):
        report = inspect_folder(archive, 16)
        assert (report["complete"], report["refusal"]) == (24, None)
        assert report["defects"]["unsafe member"]["names"][0] == "(no name) (names no file)", archive


def test_links_in_archives_are_not_followed(tmp_path) -> None:
    link = zipfile.ZipInfo("red/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    report = inspect_folder(packed(tmp_path / "faces.zip", (link, b"/etc/passwd")), 16)
    assert (report["pictures"], report["defects"]["link not followed"]["names"]) == (24, ["red/link.png"])
    path = tar(tmp_path / "faces.tar", [(f"{face.hair}/{face.stem}.png", face.png) for face in FACES])
    with tarfile.open(path, "a") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            about = tarfile.TarInfo(f"red/{number}.png")
            about.type, about.linkname = kind, "/etc/passwd"
            archive.addfile(about)
    report = inspect_folder(path, 16)
    assert (report["pictures"], report["complete"]) == (24, 24)
    assert {kind: found["count"] for kind, found in report["defects"].items()} == {
        "link not followed": 2, "unsafe member": 2
    }  # fmt: skip


def test_members_that_announce_gigabytes_are_never_read(tmp_path) -> None:
    path = packed(tmp_path / "faces.zip", ("red/bomb.png", b"0" * 1000))
    content = path.read_bytes()
    at = content.rindex(b"red/bomb.png") - 46  # its entry in the central directory; the size stands at 24
    path.write_bytes(content[: at + 24] + (4_000_000_000).to_bytes(4, "little") + content[at + 28 :])
    report = inspect_folder(path, 16)
    assert (report["complete"], report["defects"]["oversized"]["count"]) == (24, 1)
    about = tarfile.TarInfo("red/bomb.png")
    about.size = 10 * 2**30
    plain = tar(tmp_path / "faces.tar", [(f"{face.hair}/{face.stem}.png", face.png) for face in FACES]).read_bytes()
    (tmp_path / "faces.tar").write_bytes(plain.rstrip(b"\0") + b"\0" * 1024 + about.tobuf() + b"x" * 512)
    assert inspect_folder(tmp_path / "faces.tar", 16)["complete"] <= 24
    end = len(plain.rstrip(b"\0"))
    end += -end % 512
    (tmp_path / "faces.tar").write_bytes(plain[:end] + about.tobuf() + b"\0" * 1024)
    report = inspect_folder(tmp_path / "faces.tar", 16)
    assert report["complete"] == 24
    assert any("truncated" in kind for kind in report["defects"])


def test_a_small_file_that_unpacks_to_much_more_is_oversized(tmp_path) -> None:
    """250 MB of zeros in 250 kB: more than any image within the limit needs."""
    path = packed(tmp_path / "faces.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("red/bomb.png", "w") as file:
        for _ in range(250):
            file.write(bytes(10**6))
    report = inspect_folder(path, 16)
    assert (report["complete"], report["defects"]["oversized"]["count"]) == (24, 1)


def test_too_many_members_and_what_is_no_archive_are_refused(tmp_path, monkeypatch) -> None:
    path = packed(tmp_path / "faces.zip")
    monkeypatch.setattr(contents, "MEMBER_LIMIT", 23)
    with pytest.raises(UserError, match=r"faces\.zip: more than 23 members"):
        load_folder(path, 16)
    other = tar(tmp_path / "faces.tar", [(f"{face.hair}/{face.stem}.png", face.png) for face in FACES])
    with pytest.raises(UserError, match=r"faces\.tar: more than 23 members"):
        load_folder(other, 16)
    for name in ("x.zip", "x.tar"):
        (tmp_path / name).write_bytes(b"not an archive" * 100)
        with pytest.raises(UserError, match=rf"cannot read .*{name}: .*expected an? .*archive"):
            load_folder(tmp_path / name, 16)
    (tmp_path / "labels.csv").write_text("id,hair\n")
    with pytest.raises(UserError, match=r"is not a folder, and labels\.csv is none of: \.zip, \.tar, \.parquet"):
        load_folder(tmp_path / "labels.csv", 16)


def test_a_damaged_or_encrypted_member_is_one_defect(tmp_path) -> None:
    path = packed(tmp_path / "faces.zip")
    content = bytearray(path.read_bytes())
    at = content.index(FACES[5].png[40:60]) if FACES[5].png[40:60] in content else content.index(b"PK\3\4", 900) + 60
    content[at] ^= 255
    path.write_bytes(content)
    report = inspect_folder(path, 16)
    assert (report["pictures"], sum(found["count"] for found in report["defects"].values())) == (23, 1)
    at = bytes(content).rindex(b"PK\1\2")
    content[at + 8] |= 1
    path.write_bytes(content)
    assert inspect_folder(path, 16)["defects"]["encrypted member"]["count"] == 1


def test_missing_shards_are_refused(tmp_path) -> None:
    tar(tmp_path / "x-000.tar", [(f"{face.hair}/{face.stem}.png", face.png) for face in FACES])
    with pytest.raises(UserError, match=r"2 of 3 shards are missing: x-001\.tar, x-002\.tar"):
        load_folder(tmp_path / "x-{000..002}.tar", 16)
    with pytest.raises(UserError, match=r"1,000,001 shards; the limit"):
        load_folder(tmp_path / "x-{0..1000000}.tar", 16)
    with pytest.raises(UserError, match="no file fits this pattern"):
        load_folder(tmp_path / "y-{0..2}.tar", 16)
    assert len(Listing.of(tmp_path / "x-*.tar").images) == 24
    assert len(Listing.of(local_data(Path(f"file://{tmp_path}/x-000.tar"), tmp_path)).images) == 24


@pytest.mark.parametrize("name", ["faces.tar.gz", "faces.TGZ", "faces.tar.xz"])
def test_compressed_tars_are_refused_by_name(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(UserError, match=rf"{name} is none of: \.zip, \.tar, \.parquet; unpack it first"):
        load_folder(tmp_path / name, 16)
    with pytest.raises(UserError, match=rf"has no images; .*it holds {name}"):
        load_folder(tmp_path, 16)


def test_parquet_without_images_class_numbers_out_of_range_and_a_damaged_cell(tmp_path) -> None:
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet has no column of images; expected one of struct"):
        load_folder(tmp_path, 16)
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))}/train\.parquet has no column of images"):
        load_folder(tmp_path / "train.parquet", 16)
    found = shard(FACES)
    labels = [99, -2, -1, *found["label"].to_pylist()[3:]]
    pictures = found["image"].to_pylist()
    pictures[5], pictures[6] = {"bytes": pictures[5]["bytes"][:50], "path": "x"}, None
    cells = pa.array(pictures, found.schema.field("image").type)
    changed = found.set_column(1, found.schema.field("label"), [labels]).set_column(
        0, found.schema.field("image"), cells
    )
    pq.write_table(changed, tmp_path / "train.parquet", row_group_size=7)
    report = inspect_folder(tmp_path, 16)
    assert (report["pictures"], report["complete"]) == (22, 19)
    counts = {kind: found["count"] for kind, found in report["defects"].items()}
    assert counts["label out of range"] == 2
    assert counts["missing label"] == 3
    assert counts["empty"] == 1
    assert sum(counts.get(kind, 0) for kind in ("truncated", "corrupt")) == 1


def test_a_parquet_file_alone_and_row_groups_beyond_the_limit(tmp_path, monkeypatch) -> None:
    pq.write_table(shard(FACES), tmp_path / "faces.parquet")
    report = inspect_folder(tmp_path / "faces.parquet", 16)
    assert report["classes"] == one(FACES, "label")
    monkeypatch.setattr(parquet, "GROUP_LIMIT", 1000)
    with pytest.raises(UserError, match=r"a row group of [0-9,]+ bytes; the limit is 1,000"):
        load_folder(tmp_path / "faces.parquet", 16)


def test_an_archive_beside_images_is_named(tmp_path) -> None:
    packed(tmp_path / "old.zip")
    for face in FACES:
        (tmp_path / face.hair).mkdir(exist_ok=True)
        (tmp_path / face.hair / f"{face.stem}.png").write_bytes(face.png)
    report = inspect_folder(tmp_path, 16)
    assert (report["complete"], list(report["defects"])) == (24, ["ignored file"])
    assert report["defects"]["ignored file"]["names"][0].startswith("old.zip")


def test_pixels_of_archives_are_cached_and_follow_a_change(tmp_path) -> None:
    path = packed(tmp_path / "faces.zip")
    first = load_folder(path, 16, cache=tmp_path / "cache")
    assert load_folder(path, 16, cache=tmp_path / "cache").fingerprint == first.fingerprint
    packed(path, ("red/more.png", FACES[0].png))
    assert len(load_folder(path, 16, cache=tmp_path / "cache")) == 25
