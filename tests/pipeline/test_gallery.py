"""The gallery's files, and the page in a real browser."""

from __future__ import annotations

import base64
import functools
import gzip
import http.server
import io
import json
import math
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from pipeline import gallery
from pipeline.backends import OnnxNetwork
from pipeline.bundle import Bundle
from pipeline.cli import main
from pipeline.gallery import write_gallery
from pipeline.manifest import ONNX, WEIGHTS
from pipeline.web_runtime import FILES, GLUE, SCRIPT, WASM, user_cache, web_runtime
from search_spaces.registry import find_space
from tests.pipeline.conftest import COMBINATIONS, write_bundle
from tests.support.exports import make_portable, tell
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from playwright.sync_api import Browser, Page

KINDS = {"tagged": "acgan", "untagged": "dcgan", "pairs": "combo_dcgan"}
HOSTILE = "</script><img src=x onerror='alert(1)'>"
SMALL = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 9, "discriminator.width": 4}
READY = "html[data-state=idle], html[data-state=failed]"


# An independent implementation of the page's noise ------------------------------------------------------------
def splitmix(seed: int, count: int) -> list[int]:
    word, found = (1 << 64) - 1, []
    for place in range(1, count + 1):
        z = (seed + place * 0x9E3779B97F4A7C15) & word
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & word
        found.append(z ^ z >> 31)
    return found


def normal(seed: int, count: int) -> NDArray[np.float64]:
    uniform = [(word >> 11) * 2.0**-53 for word in splitmix(seed, count + 1)]
    values = []
    for first, second in zip(uniform[::2], uniform[1::2], strict=False):
        radius = math.sqrt(-2 * math.log(1 - first))
        values += [radius * math.cos(2 * math.pi * second), radius * math.sin(2 * math.pi * second)]
    return np.array(values[:count])


def on_the_arc(first: NDArray[np.float64], last: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    angle = math.acos(first @ last / np.linalg.norm(first) / np.linalg.norm(last))
    return np.array((math.sin((1 - share) * angle) * first + math.sin(share * angle) * last) / math.sin(angle))


def test_the_words_are_those_of_splitmix64() -> None:
    """The values that the generator's own reference program prints for this seed."""
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


# Files --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    made = {kind: write_bundle(root / kind, **{**find_space(space).recipe, **SMALL}) for kind, space in KINDS.items()}
    for folder in made.values():
        # Untrained weights are so small that every picture is grey.
        weights = {name: value * 8 if value.ndim > 1 else value for name, value in load_file(folder / WEIGHTS).items()}
        save_file(weights, folder / WEIGHTS)
        make_portable(tell(folder, {}))
    return made


@pytest.fixture
def no_runtime(tmp_path: Path) -> Path:
    """Three files in the runtime's place, for tests that look at the page's own."""
    (tmp_path / "runtime").mkdir()
    for name in FILES:
        (tmp_path / "runtime" / name).write_text(f"the file {name}")
    return tmp_path / "runtime"


def globals_of(script: Path) -> dict[str, Any]:
    """The object that a script assigns."""
    text = script.read_text(encoding="ascii")
    return dict(json.loads(text.partition(" = ")[2].rstrip().removesuffix(";")))


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


def test_nothing_in_the_page_points_elsewhere() -> None:
    for path in (Path(gallery.__file__).parent / "site").iterdir():
        assert "://" not in path.read_text(encoding="utf-8"), path.name


def test_texts_cannot_leave_their_script(exports: dict[str, Path], no_runtime: Path, tmp_path: Path) -> None:
    copy = tell(Path(shutil.copytree(exports["tagged"], tmp_path / "export")), {"trial": HOSTILE, "sweep": "\u2028*/"})
    write_gallery(copy, tmp_path / "site", no_runtime)
    text = (tmp_path / "site" / "model.js").read_text(encoding="ascii")
    assert "<" not in text
    assert globals_of(tmp_path / "site" / "model.js")["title"] == HOSTILE
    assert HOSTILE not in (tmp_path / "site" / "index.html").read_text()


def test_a_folder_that_is_not_empty_is_left_alone(exports: dict[str, Path], no_runtime: Path, tmp_path: Path) -> None:
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


def test_the_command_needs_npm_and_says_so(
    exports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["gallery", str(exports["tagged"]), "-o", str(tmp_path / "site"), "--home", str(tmp_path / "home")]
    assert main(words) == 1
    assert "there is no npm to fetch it" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


# In a browser -------------------------------------------------------------------------------------------------
@dataclass
class Site:
    """A gallery served on loopback, and what a page of it did."""

    export: Path
    folder: Path
    url: str
    seen: list[str] = field(default_factory=list)
    """Requests to anywhere else, errors, warnings, dialogs."""

    @functools.cached_property
    def network(self) -> OnnxNetwork:
        return OnnxNetwork((self.export / ONNX).read_bytes())

    def expected(self, noise: NDArray[np.float64], labels: tuple[int, ...]) -> NDArray[np.float64]:
        """What ONNX Runtime draws in Python, ``(s, s, 3)`` in 0 to 255."""
        drawn = self.network.render(noise[None].astype(np.float32), np.array([labels]))[0]
        return np.array((np.clip(drawn, -1, 1) + 1) * 127.5).transpose(1, 2, 0)

    def open(self, browser: Browser, url: str = "", **context: Any) -> Page:
        page = browser.new_context(**context).new_page()
        start = url or self.url
        inside = (start.rpartition("/")[0], "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(inside) else self.seen.append(asked.url))
        page.on("console", lambda said: self.seen.append(said.text))
        page.on("pageerror", lambda error: self.seen.append(str(error)))
        page.on("dialog", lambda dialog: self.seen.append(dialog.message) or dialog.dismiss())
        page.goto(start)
        return settle(page)


def settle(page: Page) -> Page:
    """Wait until every wish is drawn."""
    page.wait_for_selector(READY, state="attached", timeout=120_000)
    return page


def canvas(page: Page, name: str) -> NDArray[np.float64]:
    """Pixels of a canvas, ``(s, s, 3)``."""
    settle(page)
    url = page.evaluate("name => document.getElementById(name).toDataURL()", name)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), dtype=float)


def assert_same(drawn: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    assert drawn.shape == expected.shape
    assert np.ptp(drawn) > 10, "a blank picture"
    assert np.abs(drawn - expected).max() <= 2


@pytest.fixture(scope="module")
def runtime() -> Path:
    try:
        return web_runtime(user_cache())
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium, and there is none on the path")
    with sync.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def sites(
    exports: dict[str, Path], runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Site]]:
    """A gallery of every kind, served as any files are."""
    root = tmp_path_factory.mktemp("sites")
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = {}
        for kind, export in exports.items():
            write_gallery(export, root / kind, runtime)
            made[kind] = Site(export, root / kind, f"http://127.0.0.1:{server.server_port}/{kind}/index.html")
        yield made
        server.shutdown()


def altered(site: Site, name: str, **changes: Any) -> Site:
    """Another gallery beside one, that was told something else."""
    folder = site.folder.with_name(name)
    if not folder.exists():
        shutil.copytree(site.folder, folder)
        told = {**globals_of(folder / "model.js"), **changes}
        (folder / "model.js").write_text(gallery._script("GALLERY", told), encoding="ascii")
    return Site(site.export, folder, site.url.replace(site.folder.name, name))


def test_noise_is_that_of_the_independent_implementation(sites: dict[str, Site], browser: Browser) -> None:
    page = sites["tagged"].open(browser)
    for seed, count in ((0, 1), (1, 8), (2**31 - 1, 129), (1234567, 64)):
        assert page.evaluate("([seed, count]) => [...Noise.normal(seed, count)]", [seed, count]) == pytest.approx(
            normal(seed, count).tolist(), rel=1e-12, abs=1e-14
        )
    words = page.evaluate("() => { const next = Noise.words(1234567); return [next(), next()].map(String); }")
    assert words == ["6457827717110365317", "3203168211198807973"]
    same = page.evaluate("() => [...Noise.between(Noise.normal(3, 4), Noise.normal(3, 4), 0.3)]")
    assert same == pytest.approx(normal(3, 4).tolist())
    values = np.array(page.evaluate("() => [...Noise.normal(7, 100000)]"))
    assert abs(values.mean()) < 0.02  # six standard errors
    assert abs(values.std() - 1) < 0.02


def test_it_draws_what_onnx_runtime_draws_in_python(sites: dict[str, Site], browser: Browser) -> None:
    site = sites["tagged"]
    page = site.open(browser, accept_downloads=True)
    assert_same(canvas(page, "picture"), site.expected(normal(0, 9), (8, 9)))
    page.get_by_label("pink").first.check()
    page.get_by_role("group", name="eyes").get_by_label("green").check()
    page.get_by_label("Seed", exact=True).fill("41")
    labels = (7, 7)
    assert_same(canvas(page, "picture"), site.expected(normal(41, 9), labels))
    assert page.inner_text("#caption") == "pink hair, green eyes, seed 41"
    assert page.get_attribute("#picture", "aria-label") == "pink hair, green eyes, seed 41"
    assert_same(canvas(page, "more-2"), site.expected(normal(44, 9), labels))
    page.get_by_label("Other seed").fill("5")
    page.get_by_label("Way there").fill("25")
    assert_same(canvas(page, "between"), site.expected(on_the_arc(normal(41, 9), normal(5, 9), 0.25), labels))
    assert_same(canvas(page, "step-6"), site.expected(normal(5, 9), labels))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").click()
    assert saved.value.suggested_filename == "pink-hair-green-eyes-41.png"
    picture = Image.open(saved.value.path())
    assert np.array_equal(np.asarray(picture.convert("RGB"), dtype=float), canvas(page, "picture"))
    page.locator("#more button").nth(2).click()
    assert page.get_by_label("Seed", exact=True).input_value() == "44"
    assert_same(canvas(page, "picture"), site.expected(normal(44, 9), labels))
    assert not site.seen


def test_the_keyboard_is_enough(sites: dict[str, Site], browser: Browser) -> None:
    site = sites["tagged"]
    page = site.open(browser)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # from blue to black hair
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")  # from red to brown eyes
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")  # seed 1
    settle(page)
    assert page.inner_text("#caption") == "black hair, brown eyes, seed 1"
    assert_same(canvas(page, "picture"), site.expected(normal(1, 9), (9, 8)))


def test_a_seed_that_is_none_draws_nothing_new(sites: dict[str, Site], browser: Browser) -> None:
    page = sites["tagged"].open(browser)
    for wrong in ("-1", "2147483648", "1.5", ""):
        page.get_by_label("Seed", exact=True).fill(wrong)
        assert page.inner_text("#caption").endswith("seed 0")
    page.get_by_label("Seed", exact=True).fill("2147483647")
    settle(page)
    assert page.inner_text("#more button >> nth=0") == "0", "seeds begin again after the last"
    assert not sites["tagged"].seen


def test_combinations_without_data_cannot_be_chosen(sites: dict[str, Site], browser: Browser) -> None:
    """Known: blue hair with red or green eyes, pink hair with red eyes."""
    site = sites["pairs"]
    page = site.open(browser)

    def enabled(group: str) -> list[str]:
        chips = page.get_by_role("group", name=group).locator(".chip:has(input:enabled)")
        return chips.all_inner_texts()

    assert enabled("hair") == ["pink", "blue"]
    assert enabled("eyes") == ["green", "red"]
    page.get_by_role("group", name="eyes").get_by_label("green").check()
    assert_same(canvas(page, "picture"), site.expected(normal(0, 9), (8, 7)))
    page.get_by_role("group", name="hair").get_by_label("pink").check()
    assert enabled("eyes") == ["red"]
    assert page.inner_text("#caption") == "pink hair, red eyes, seed 0", "the eyes follow"
    assert_same(canvas(page, "picture"), site.expected(normal(0, 9), (7, 9)))
    assert not site.seen


def test_a_generator_without_tags(sites: dict[str, Site], browser: Browser) -> None:
    site = sites["untagged"]
    page = site.open(browser)
    assert page.locator("fieldset").count() == 0
    assert page.inner_text("#caption") == "seed 0"
    assert_same(canvas(page, "picture"), site.expected(normal(0, 9), (0, 0)))
    assert not site.seen


def test_it_works_from_the_disk(sites: dict[str, Site], browser: Browser) -> None:
    site = Site(sites["tagged"].export, sites["tagged"].folder, sites["tagged"].folder.as_uri() + "/index.html")
    assert_same(canvas(site.open(browser), "picture"), site.expected(normal(0, 9), (8, 9)))
    assert not site.seen


def test_hostile_names_are_text(sites: dict[str, Site], browser: Browser) -> None:
    """Also a group of more classes than chips are good for: it becomes a list."""
    hostile = {"name": HOSTILE, "classes": [f"{HOSTILE}{place}" for place in range(12)]}
    many = {"name": "</select><b>", "classes": [f"<i>{place}" for place in range(30)]}
    told = {"groups": [hostile, many], "title": HOSTILE, "subtitle": HOSTILE, "facts": [[HOSTILE, HOSTILE]]}
    site = altered(sites["tagged"], "hostile", **told)
    page = site.open(browser, viewport={"width": 390, "height": 800})
    assert page.inner_text("h1") == HOSTILE
    assert page.inner_text(".chip >> nth=3") == f"{HOSTILE}3"
    page.select_option("select", label="<i>4")
    assert_same(canvas(page, "picture"), site.expected(normal(0, 9), (8, 4)))
    assert page.locator("img, b, i").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not site.seen


def test_a_model_that_does_not_load_is_said(sites: dict[str, Site], browser: Browser) -> None:
    page = altered(sites["tagged"], "broken", onnx="AAAA").open(browser)
    assert page.inner_text("#status").startswith("This browser cannot run the generator: ")
    assert page.get_by_role("button", name="Save picture").is_disabled()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_and_follows_the_scheme(sites: dict[str, Site], browser: Browser, width: int, scheme: str) -> None:
    page = sites["tagged"].open(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (sum(levels) > 384) == (scheme == "light")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')]"
        ".filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).length"
    )
    assert unnamed == 0


def test_bundles_load_as_the_page_reads_them(exports: dict[str, Path]) -> None:
    """The two ways of noise differ: the page says so."""
    bundle = Bundle.load(exports["tagged"], "onnx")
    assert np.abs(bundle.noise([0], 0)[0] - normal(0, 9)).max() > 0.1
    page = (Path(gallery.__file__).parent / "site" / "index.html").read_text()
    assert "is not the picture that" in page
