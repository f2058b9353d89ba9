"""Registered generators that translate, as MLflow loads and serves them, against ``gansweep translate``."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.requests import translation_labels
from pipeline.cli.main import main
from pipeline.export.model_card_translation import translation_usage
from pipeline.serve.mlflow_model import save_served
from tests.support.pipeline.exports import make_portable
from tests.support.pipeline.translators import SIZE, VOCABULARY, write_translator
from tests.support.servers.serving import Served, run_without_gansweep
from trainables.data.images import BadImage, load_image

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.pyfunc import PyFuncModel
    from numpy.typing import NDArray

KINDS = {"cyclegan": ("domain",), "stargan": ("domain", "eyes")}
"""Targets of each."""
TO = {"cyclegan": "black hair", "stargan": "blue eyes, blonde hair domain"}
PREDICT = """
import mlflow.pyfunc, pandas as pd
table = pd.DataFrame({"picture": [open(sys.argv[3], "rb").read()], "to": [sys.argv[4]]})
assert mlflow.pyfunc.load_model(sys.argv[2]).predict(table)["png"][0].startswith(b"\\x89PNG")
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("translators")
    return {kind: make_portable(write_translator(root / kind, kind, targets)) for kind, targets in KINDS.items()}


@pytest.fixture(scope="module")
def saved(exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for kind, export in exports.items():
        save_served(Bundle.load(export, "onnx"), root / kind)
    return {kind: root / kind for kind in exports}


@pytest.fixture(scope="module")
def models(saved: dict[str, Path]) -> dict[str, PyFuncModel]:
    return {kind: mlflow.pyfunc.load_model(str(folder)) for kind, folder in saved.items()}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One image of every kind that is decoded differently."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (24, 40, 3), dtype=np.uint8))
    alpha = Image.fromarray(random.integers(0, 256, (24, 40, 4), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    colour.save(folder / "plain.png")
    colour.resize((16, 16)).save(folder / "own-size.jpg")
    colour.save(folder / "turned.jpg", exif=turned)
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("1").save(folder / "black-white.png")
    colour.convert("P").save(folder / "palette.bmp")
    alpha.save(folder / "alpha.png")
    alpha.save(folder / "alpha.webp")
    alpha.convert("LA").save(folder / "grey-alpha.png")
    colour.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "transparent.png", transparency=3)
    colour.save(folder / "moving.gif", save_all=True, append_images=[alpha.convert("RGB")])
    Image.fromarray(random.integers(0, 65536, (30, 20), dtype=np.uint16)).save(folder / "deep.png")
    return sorted(folder.iterdir())


def pixels(png: bytes) -> NDArray[np.int64]:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image).astype(int)


def ask(model: PyFuncModel, image: Any, to: Any) -> str:
    """Return the error for a bad row after a good one."""
    good = io.BytesIO()
    Image.new("RGB", (4, 4)).save(good, "png")
    words = "black hair domain, red eyes" if "eyes" in model.unwrap_python_model().bundle.targets else "black hair"
    with pytest.raises(MlflowException) as refused:
        model.predict(pd.DataFrame({"picture": [good.getvalue(), image], "to": [words, to]}))
    assert refused.value.get_http_status_code() == 400
    assert "\n" not in str(refused.value)
    return str(refused.value)


def png_of(width: int, height: int) -> bytes:
    """A PNG file that promises so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_what_translate_writes(
    kind: str, exports: dict[str, Path], models: dict[str, PyFuncModel], images: list[Path], tmp_path: Path
) -> None:
    words = ["translate", str(exports[kind]), *map(str, images), "--to", TO[kind], "-o", str(tmp_path / "out")]
    assert main(words) == 0
    contents = [path.read_bytes() for path in images]
    table = models[kind].predict(pd.DataFrame({"picture": contents, "to": TO[kind]}))
    assert list(table.columns) == ["png"]
    assert len(set(table["png"])) == len(images)
    for png, path in zip(table["png"], images, strict=True):
        (written,) = (tmp_path / "out" / name for name in (f"{path.stem}.png", f"{path.name}.png")
                      if (tmp_path / "out" / name).exists())  # fmt: skip
        assert np.abs(pixels(png) - pixels(written.read_bytes())).max() <= 1  # torch and ONNX may round differently


def test_files_are_decoded_as_translate_decodes_them(models: dict[str, PyFuncModel], images: list[Path]) -> None:
    model = models["cyclegan"].unwrap_python_model()
    for path in images:
        found, _ = model._read(0, path.read_bytes(), "black hair")
        assert np.array_equal(found, load_image(path, SIZE)), path.name


def test_each_row_has_its_own_target(models: dict[str, PyFuncModel], images: list[Path]) -> None:
    """More rows than a batch, in both directions by turns."""
    content = images[0].read_bytes()
    both = [models["cyclegan"].predict(pd.DataFrame({"picture": [content], "to": [to]}))["png"][0]
            for to in ("black hair", "Blonde  Hair domain")]  # fmt: skip
    assert np.abs(pixels(both[0]) - pixels(both[1])).max() > 10
    rows = pd.DataFrame({"picture": [content] * 70, "to": ["black hair", "blonde hair"] * 35})
    for place, png in enumerate(models["cyclegan"].predict(rows)["png"]):
        assert np.abs(pixels(png) - pixels(both[place % 2])).max() <= 1


@pytest.mark.parametrize(
    ("kind", "to", "complaint"),
    [
        ("cyclegan", None, "row 1: no tags to translate to; give for instance to \"blonde hair domain\", of domain: b"),
        ("cyclegan", " ", "row 1: no tags to translate to; give for instance to \"blonde hair domain\", of domain: b"),
        ("cyclegan", "blond hair", "row 1: to 'blond hair' cannot be read; this generator goes to domain: black hair, "
                                   "blonde hair; did you mean 'blonde hair'?"),
        ("cyclegan", "red domain", "row 1: to: unknown domain 'red'; allowed: black hair, blonde hair; "),
        ("cyclegan", "blue eyes", "row 1: to 'blue eyes': this generator does not change eyes; it goes to domain: b"),
        ("stargan", "red eyes", "row 1: to 'red eyes' names no class of domain; name a class of each group: domain: "
                                "black hair, blonde hair; eyes: red, blue, green"),
        ("stargan", "red eyes blue eyes", "row 1: to: tags 'red eyes blue eyes' name eyes twice; one class of each"),
    ],
)  # fmt: skip
def test_unknown_targets_are_refused_by_row(
    kind: str, to: str | None, complaint: str, models: dict[str, PyFuncModel], images: list[Path]
) -> None:
    assert complaint in ask(models[kind], images[0].read_bytes(), to)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_unreadable_images_are_refused_as_by_translate(
    models: dict[str, PyFuncModel], images: list[Path], tmp_path: Path
) -> None:
    whole = {path.name: path.read_bytes() for path in images}
    damaged = bytearray(whole["plain.png"])
    damaged[200] ^= 0xFF
    bad = {
        "empty": b"",
        "not an image": b"no image",
        "truncated": whole["plain.png"][:-400],
        "truncated webp": whole["alpha.webp"][:-40],
        "truncated jpeg": whole["turned.jpg"][:-200],
        "corrupt": bytes(damaged),
        "oversized": png_of(8000, 8000),
        "oversized, Pillow warns": png_of(10000, 10000),
        "oversized, Pillow refuses": png_of(30000, 30000),
    }
    for name, content in bad.items():
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(BadImage) as found:
            load_image(tmp_path / "bad.png", SIZE)
        assert name.startswith(found.value.kind)
        said = ask(models["cyclegan"], content, "black hair")
        assert f"row 1: the image is {found.value.kind}: {found.value.detail}" in said
    assert "8000 x 8000 pixels; the limit is 50,000,000" in ask(models["cyclegan"], bad["oversized"], "black hair")


@pytest.mark.parametrize(("image", "kind"), [(None, "NoneType"), ("iVBORw0KGgo=", "str")])
def test_what_is_no_file_content_is_refused(models: dict[str, PyFuncModel], image: Any, kind: str) -> None:
    said = ask(models["cyclegan"], image, "black hair")
    assert f"row 1: the image is a {kind}; the bytes of an image file are needed" in said


def test_a_file_that_no_image_needs_is_not_decoded(
    models: dict[str, PyFuncModel], images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.data.images.BYTE_LIMIT", 300)
    with pytest.raises(MlflowException, match=r"row 0: the image is oversized: [\d,]+ bytes; the limit is 300"):
        models["cyclegan"].predict(pd.DataFrame({"picture": [images[0].read_bytes()], "to": ["black hair"]}))


def test_signature_and_example_come_with_it(saved: dict[str, Path], models: dict[str, PyFuncModel]) -> None:
    about = yaml.safe_load((saved["stargan"] / "MLmodel").read_text())
    assert json.loads(about["signature"]["inputs"]) == [
        {"type": "binary", "name": "picture", "required": True}, {"type": "string", "name": "to", "required": True},
    ]  # fmt: skip
    assert [(one["type"], one["name"]) for one in json.loads(about["signature"]["outputs"])] == [("binary", "png")]
    example = json.loads((saved["stargan"] / "serving_input_example.json").read_text())["dataframe_split"]
    ((image, to),) = example["data"]
    assert (example["columns"], to) == (["picture", "to"], "blonde hair domain green eyes")
    content = base64.b64decode(image)
    assert pixels(content).shape == (SIZE, SIZE, 3)
    assert np.ptp(pixels(content)) > 200
    assert len(models["stargan"].predict(pd.DataFrame({"picture": [content], "to": [to]}))) == 1
    wanted = {line.partition("==")[0] for line in (saved["stargan"] / "requirements.txt").read_text().split()}
    assert wanted == {"mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow"}


def test_it_runs_without_torch_and_gansweep(saved: dict[str, Path], images: list[Path], tmp_path: Path) -> None:
    run_without_gansweep(PREDICT, [str(saved["stargan"]), str(images[0]), TO["stargan"]], tmp_path)


@pytest.mark.real_processes
@pytest.mark.slow
def test_mlflow_serves_it_over_http(
    saved: dict[str, Path], exports: dict[str, Path], images: list[Path], tmp_path: Path
) -> None:
    bundle = Bundle.load(exports["stargan"])
    encoded = {path.name: base64.b64encode(path.read_bytes()).decode() for path in images}
    with Served(saved["stargan"], tmp_path) as server:
        asked = ["blue eyes, blonde hair domain", "black hair domain green eyes"]
        names = ["turned.jpg", "alpha.webp"]
        rows = [{"picture": encoded[name], "to": to} for name, to in zip(names, asked, strict=True)]
        status, answer = server.ask({"dataframe_records": rows})
        assert status == 200
        for name, to, one in zip(names, asked, answer["predictions"], strict=True):
            (path,) = (path for path in images if path.name == name)
            expected = bundle.translate(load_image(path, SIZE)[None], np.array([translation_labels(bundle, to)]))[0]
            assert np.abs(pixels(base64.b64decode(one["png"])) - expected).max() <= 1
        good = encoded["plain.png"]
        text, bomb = (base64.b64encode(content).decode() for content in (b"no image", png_of(30000, 30000)))
        for row, said in (
            ({"picture": good, "to": "mauve eyes black hair domain"}, "row 0: to: unknown eyes 'mauve'; allowed"),
            ({"picture": good, "to": None}, "row 0: no tags to translate to"),
            ({"picture": good}, "Model is missing inputs ['to']"),
            ({"picture": text, "to": asked[0]}, "row 0: the image is not an image: none of JPEG, PNG"),
            ({"picture": "iVBOR", "to": asked[0]}, "Failed to convert column picture"),
            ({"picture": bomb, "to": asked[0]}, "row 0: the image is oversized: "),
        ):  # fmt: skip
            status, answer = server.ask({"dataframe_records": [row]})
            assert status == 400
            assert said in answer["message"]
        run_the_cards_code(exports["stargan"], server.port, tmp_path)
    content = load_image(tmp_path / "image.jpg", SIZE)
    expected = bundle.translate(content[None], np.array([[1, 2]]))[0]
    assert np.abs(pixels((tmp_path / "translated.png").read_bytes()) - expected).max() <= 1


def run_the_cards_code(export: Path, port: int, folder: Path) -> None:
    """As the model card of this export has it, with this server's port."""
    noise = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "image.jpg")
    about = json.loads((export / "config.json").read_text())
    lines = translation_usage(VOCABULARY.to_json(), ["domain", "eyes"], about, (1, 2))
    code = re.findall(r"^```python\n(.*?)^```", "\n".join(lines), re.MULTILINE | re.DOTALL)[-1]
    done = subprocess.run(
        [sys.executable, "-c", code.replace(":5001/", f":{port}/")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
