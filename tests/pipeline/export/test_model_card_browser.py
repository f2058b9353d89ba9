"""The JavaScript of a model card, run in a browser as it stands there, against the export's golden images and torch.

A reader's bundler, or an import map, leads the package's name to its module; here it leads to the pinned runtime.
"""

from __future__ import annotations

import functools
import http.server
import json
import math
import re
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import GOLDEN
from pipeline.gallery.onnx_web import FILES, SCRIPT
from tests.pipeline.export import test_model_card, test_model_card_translation
from tests.support.pipeline.exports import make_portable
from tests.support.pipeline.galleries import KINDS, write_contrasting
from tests.support.pipeline.translators import SIZE, write_translator
from tests.support.servers.browser import new_page

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.real_processes]

PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<canvas></canvas>
<script src="runtime/{script}"></script>
<script type="importmap">{{"imports": {{"onnxruntime-web": "./package.mjs"}}}}</script>
<script>
const numbers = {numbers};
if (numbers.length) Math.random = () => numbers.shift();
</script>
<script type="module">
{code}
globalThis.shown = {{ pictures: [...pictures.data], numbers }};
</script>
"""
PACKAGE = "export const { InferenceSession, Tensor, env } = globalThis.ort;\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_portable(write_translator(tmp_path_factory.mktemp("translator") / "export"))


def script_of(card: str) -> str:
    (code,) = re.findall(r"^```js\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    return str(code)


def run(
    browser: Browser, folder: Path, runtime: Path, code: str, numbers: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The images that the code has at its end, ``(channels, s, s)``, and the canvas's pixels, ``(s, s, 3)``."""
    (folder / "runtime").mkdir()
    for name in FILES:
        shutil.copyfile(runtime / name, folder / "runtime" / name)
    (folder / "package.mjs").write_text(PACKAGE)
    (folder / "index.html").write_text(PAGE.format(script=SCRIPT, numbers=json.dumps(numbers), code=code))
    faults: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = new_page(browser)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_function("() => globalThis.shown")
        shown: dict[str, Any] = page.evaluate("() => shown")
        drawn = page.evaluate(
            """() => {
              const { width, height } = document.querySelector("canvas");
              const image = document.querySelector("canvas").getContext("2d").getImageData(0, 0, width, height);
              return { width, height, levels: [...image.data] };
            }"""
        )
        page.close()
        server.shutdown()
    assert not faults
    assert not shown["numbers"], "every number was used"
    assert (drawn["width"], drawn["height"]) == (SIZE, SIZE)
    levels = np.array(drawn["levels"]).reshape(SIZE, SIZE, 4)
    assert (levels[..., 3] == 255).all()
    return np.array(shown["pictures"]).reshape(-1, SIZE, SIZE), levels[..., :3]


def uniform_pairs(noise: NDArray[np.float32]) -> list[float]:
    """What ``Math.random`` must give for this noise, by Box and Muller (1958): r cos(2 pi u) with r from the other."""
    found = []
    for value in noise.astype(float).tolist():
        share = 0.1 if value >= 0 else 0.4
        radius = value / math.cos(2 * math.pi * share)
        found += [1 - math.exp(-(radius**2) / 2), share]
    return found


def assert_same(
    found: tuple[NDArray[np.float64], NDArray[np.int64]], expected: NDArray[np.float32], contrast: float
) -> None:
    images, levels = found
    assert np.ptp(expected) > contrast, "a blank image"
    assert np.abs(images - expected).max() <= 1e-4
    shown = (np.clip(expected, -1, 1) + 1) * 127.5
    assert np.abs(levels - shown.transpose(1, 2, 0)).max() <= 0.5 + 127.5e-4


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_the_golden_image(kind: str, browser: Browser, runtime: Path, tmp_path: Path) -> None:
    """The card asks for the data's commonest tags, as the first golden image does; chance is given its noise."""
    folder = write_contrasting(tmp_path / "export", kind)
    golden = load_file(folder / GOLDEN)
    code = script_of(test_model_card.card(folder))
    found = run(browser, folder, runtime, code, uniform_pairs(golden["noise"][0]))
    assert_same(found, golden["pictures"][0], 0.1)


@pytest.mark.parametrize(("width", "height"), [(SIZE + 8, SIZE), (SIZE, SIZE + 4)])
def test_it_translates_as_torch_does(
    width: int, height: int, browser: Browser, runtime: Path, translator: Path, tmp_path: Path
) -> None:
    """An image in part transparent whose centre square needs no resizing: PNG, whatever its name says."""
    folder = shutil.copytree(translator, tmp_path / "export")
    code = script_of(test_model_card_translation.card(folder))
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, : width // 2 - 2, 3] = 0
    Image.fromarray(pixels).save(folder / "image.jpg", format="PNG")
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    square = pixels[top : top + SIZE, left : left + SIZE]
    colours = np.where(square[..., 3:] == 0, 255, square[..., :3]).astype(np.float32)
    sources = np.ascontiguousarray(colours.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    expected = Bundle.load(folder).network.render(sources, np.array([[0, 0]]))[0]
    assert_same(run(browser, folder, runtime, code, []), expected, 0.1)


def test_it_pads_and_greys_as_in_training(browser: Browser, runtime: Path, tmp_path: Path) -> None:
    """An image of which only the bars above and below are missing."""
    folder = make_portable(write_translator(tmp_path / "export", fit="pad", channels=1))
    code = script_of(test_model_card_translation.card(folder))
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE - 4, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.jpg", format="PNG")
    square = np.pad(pixels, ((2, 2), (0, 0), (0, 0)), constant_values=255).astype(np.float32)
    sources = (square @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[None, None] / 127.5 - 1
    expected = Bundle.load(folder).network.render(sources.astype(np.float32), np.array([[0, 0]]))[0]
    assert_same(run(browser, folder, runtime, code, []), expected, 0.1)
