"""The gallery's files."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path

import pytest

from pipeline.bundle.manifest import ONNX
from pipeline.cli.main import main
from pipeline.gallery import gallery
from pipeline.gallery.gallery import write_gallery
from pipeline.gallery.onnx_web import FILES, GLUE, SCRIPT, WASM
from tests.support.pipeline.exports import COMBINATIONS, tell, write_bundle
from tests.support.pipeline.galleries import globals_of, write_contrasting
from trainables.errors import UserError

HOSTILE = "</script><img src=x onerror='alert(1)'>"


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    return {kind: write_contrasting(root / kind, kind) for kind in ("tagged", "pairs")}


@pytest.fixture
def no_runtime(tmp_path: Path) -> Path:
    """Three files in the runtime's place, for tests that look at the page's own."""
    (tmp_path / "runtime").mkdir()
    for name in FILES:
        (tmp_path / "runtime" / name).write_text(f"the file {name}")
    return tmp_path / "runtime"


def test_the_site_holds_model_and_runtime(exports: dict[str, Path], no_runtime: Path, tmp_path: Path) -> None:
    size = write_gallery(exports["pairs"], tmp_path / "site", no_runtime)
    paths = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "site").as_posix() for path in paths) == [
        "gallery.css", "gallery.js", "index.html", "model.js", "noise.js",
        "runtime/NOTICE.txt", f"runtime/{SCRIPT}", "runtime/wasm.js",
    ]  # fmt: skip
    assert size == sum(len(path.read_bytes()) for path in paths)
    told = globals_of(tmp_path / "site" / "model.js")
    assert base64.b64decode(told["onnx"]) == (exports["pairs"] / ONNX).read_bytes()
    assert told["pairs"] == [labels for labels, _ in COMBINATIONS]
    assert (told["first"], told["noiseDim"], told["size"], told["conditional"]) == ([8, 9], 9, 16, True)
    assert [group["name"] for group in told["groups"]] == ["hair", "eyes"]
    packed = globals_of(tmp_path / "site" / "runtime" / "wasm.js")
    assert gzip.decompress(base64.b64decode(packed["wasm"])).decode() == f"the file {WASM}"
    assert base64.b64decode(packed["mjs"]).decode() == f"the file {GLUE}"
    assert "MIT" in (tmp_path / "site" / "runtime" / "NOTICE.txt").read_text()


def test_the_page_gives_images_seen_and_different_images(
    exports: dict[str, Path], no_runtime: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(exports["tagged"], tmp_path / "export"))
    write_gallery(tell(copy, {"kimg": 48.0, "images": 2200}), tmp_path / "site", no_runtime)
    subtitle = globals_of(tmp_path / "site" / "model.js")["subtitle"]
    assert subtitle.endswith("48 thousand images seen in training, of 2,200 different ones")


def test_the_page_loads_nothing_from_other_hosts() -> None:
    for path in (Path(gallery.__file__).parent / "site").iterdir():
        assert "://" not in path.read_text(encoding="utf-8"), path.name


def test_texts_cannot_leave_their_script(exports: dict[str, Path], no_runtime: Path, tmp_path: Path) -> None:
    copy = tell(Path(shutil.copytree(exports["tagged"], tmp_path / "export")), {"trial": HOSTILE, "sweep": "\u2028*/"})
    write_gallery(copy, tmp_path / "site", no_runtime)
    text = (tmp_path / "site" / "model.js").read_text(encoding="ascii")
    assert "<" not in text
    assert globals_of(tmp_path / "site" / "model.js")["title"] == HOSTILE
    assert HOSTILE not in (tmp_path / "site" / "index.html").read_text()


def test_a_folder_that_is_not_empty_is_refused(exports: dict[str, Path], no_runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="is not empty"):
        write_gallery(exports["tagged"], tmp_path / "site", no_runtime)
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["mine.txt"]


def test_an_export_without_onnx_file_is_refused(no_runtime: Path, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "old")
    with pytest.raises(UserError, match=f"has no {ONNX}; export it again"):
        write_gallery(folder, tmp_path / "site", no_runtime)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_where_the_page_is(
    exports: dict[str, Path],
    no_runtime: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    monkeypatch.setattr("pipeline.gallery.onnx_web.web_runtime", lambda cache, archive: no_runtime)
    site = tmp_path / "site"
    assert main(["gallery", str(exports["tagged"]), "-o", str(site), *["--json"] * as_json]) == 0
    printed = capsys.readouterr()
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    page = str(site / "index.html")
    if as_json:
        assert json.loads(printed.out) == {"output": str(site), "page": page, "bytes": size}
    else:
        assert printed.out == f"wrote {site}, {size / 1e6:.1f} MB; open {page} in a browser\n"
    assert all(line.startswith("page of ") for line in printed.err.splitlines()), printed.err  # if it is slow


def test_a_missing_npm_is_named(
    exports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["gallery", str(exports["tagged"]), "-o", str(tmp_path / "site"), "--home", str(tmp_path / "home")]
    assert main(words) == 1
    assert "npm is not installed" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
