"""Whatever bytes the labels and archives of a layout hold, reading it gives a data set or one of our errors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainables.data.layout_samples import LAYOUTS, make_faces
from trainables.data.dataset import read_folder
from trainables.errors import UserError

EXAMPLES = int(os.environ.get("GANSWEEP_TEST_MUTATIONS", "100"))
READERS = (
    "class_folders_in_zip", "sidecar_txt", "caption_json", "caption_jsonl", "hf_metadata_csv",
    "hf_metadata_jsonl_in_splits", "hf_metadata_parquet", "parquet_shards", "stylegan_folder",
    "stylegan_zip_of_vectors", "csv_with_semicolons_in_utf16", "csv_one_hot", "csv_of_signs",
    "csv_with_quoted_line_breaks", "danbooru", "webdataset_tar", "webdataset_of_json", "coco",
    "tag_list", "counted_tags", "celeba",
)  # fmt: skip
TOKENS = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"'", b",", b";", b"\t", b"null", b"true", b"NaN",
    b"1e999", b"-1", b"99999999999999999999", b"9" * 5000, b"[", b"]", b"{", b"}", b"[[[[[[", b"../",
    b"/etc/passwd", b"C:\\x",
    "\N{COMBINING ACUTE ACCENT}\N{ARABIC-INDIC DIGIT THREE}\u2028\x85".encode(), b"id", b"hair", b"0001.png",
    b"yes", b" 2",
)  # fmt: skip
PLACES = st.floats(0, 1, allow_nan=False)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["insert", "replace", "delete", "repeat", "cut", "swap", "flip"]), PLACES, PLACES,
              st.sampled_from(TOKENS) | st.binary(max_size=6)),
    min_size=1, max_size=4,
)  # fmt: skip


def changed(content: bytes, changes: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, first, second, token in changes:
        at, to = sorted((int(first * len(content)), int(second * len(content))))
        near = min(to, at + 12)
        match kind:
            case "insert":
                content = content[:at] + token + content[at:]
            case "replace":
                content = content[:at] + token + content[near:]
            case "delete":
                content = content[:at] + content[near:]
            case "repeat":
                content = content[:to] + content[at : min(to, at + 2000)] + content[to:]
            case "cut":
                content = content[:to]
            case "swap":
                content = content[:at] + content[near:to] + content[at:near] + content[to:]
            case _:
                content = content[:at] + bytes(byte ^ 0x41 for byte in content[at : at + 1]) + content[at + 1 :]
    return content


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_raise_nothing_but_our_errors(name, tmp_path_factory) -> None:
    path, _ = LAYOUTS[name](tmp_path_factory.mktemp("data") / "data", make_faces(6))
    folder = path if path.is_dir() else path.parent
    names = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".png"]
    contents = [(folder / file).read_bytes() for file in names]
    others = sorted(folder.parent.rglob("*"))

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(which=st.integers(0, len(names) - 1), changes=CHANGES)
    def reads(which: int, changes: list[tuple[str, float, float, bytes]]) -> None:
        file = folder / names[which]
        file.write_bytes(changed(contents[which], changes))
        try:
            loaded = read_folder(path, 4)
            assert "\n" not in (loaded.refusal(0.05) or "")
        except UserError as error:
            said = str(error)
            assert "\n" not in said
        finally:
            file.write_bytes(contents[which])

    reads()
    assert sorted(folder.parent.rglob("*")) == others
    shutil.rmtree(Path(folder))
