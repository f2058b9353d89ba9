"""The gallery's page in a real browser, against ONNX Runtime and an independent noise generator in Python."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import math
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pipeline.bundle.backends import OnnxNetwork
from pipeline.bundle.manifest import ONNX
from pipeline.gallery import gallery
from pipeline.gallery.gallery import write_gallery
from tests.support.pipeline.galleries import KINDS, globals_of, write_contrasting
from tests.support.servers.browser import new_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.real_processes]

HOSTILE = "</script><img src=x onerror='alert(1)'>"
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
        shown = np.array((np.clip(drawn, -1, 1) + 1) * 127.5).transpose(1, 2, 0)
        return np.broadcast_to(shown, (*shown.shape[:2], 3))

    def open(self, browser: Browser, url: str = "", **context: Any) -> Page:
        page = new_page(browser, **context)
        start = url or self.url
        inside = (start.rpartition("/")[0], "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(inside) else self.seen.append(asked.url))
        page.on("console", lambda said: self.seen.append(said.text))
        page.on("pageerror", lambda error: self.seen.append(str(error)))
        page.on("dialog", lambda dialog: self.seen.append(dialog.message) or dialog.dismiss())
        page.goto(start)
        return settle(page)


def settle(page: Page) -> Page:
    """Wait until all requested images are drawn."""
    page.wait_for_selector(READY, state="attached")
    return page


def canvas(page: Page, name: str) -> NDArray[np.float64]:
    """Pixels of a canvas, ``(s, s, 3)``."""
    settle(page)
    url = page.evaluate("name => document.getElementById(name).toDataURL()", name)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), dtype=float)


def assert_same(drawn: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    assert drawn.shape == expected.shape
    assert np.ptp(drawn) > 10, "a blank image"
    assert np.abs(drawn - expected).max() <= 2


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def sites(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """A gallery of every kind, served as any files are."""
    root = tmp_path_factory.mktemp("sites")
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = {}
        for kind in KINDS:
            export = write_contrasting(root / f"{kind}-export", kind)
            write_gallery(export, root / kind, runtime)
            made[kind] = Site(export, root / kind, f"http://127.0.0.1:{server.server_port}/{kind}/index.html")
        yield made
        server.shutdown()


def altered(site: Site, name: str, **changes: Any) -> Site:
    """Another gallery with a changed setting."""
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
    assert_same(canvas(page, "image"), site.expected(normal(0, 9), (8, 9)))
    page.get_by_label("pink").first.check()
    page.get_by_role("group", name="eyes").get_by_label("green").check()
    page.get_by_label("Seed", exact=True).fill("41")
    labels = (7, 7)
    assert_same(canvas(page, "image"), site.expected(normal(41, 9), labels))
    assert page.inner_text("#caption") == "pink hair, green eyes, seed 41"
    assert page.get_attribute("#image", "aria-label") == "pink hair, green eyes, seed 41"
    assert_same(canvas(page, "more-2"), site.expected(normal(44, 9), labels))
    page.get_by_label("Other seed").fill("5")
    page.get_by_label("Way there").fill("25")
    assert_same(canvas(page, "between"), site.expected(on_the_arc(normal(41, 9), normal(5, 9), 0.25), labels))
    assert_same(canvas(page, "step-6"), site.expected(normal(5, 9), labels))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save image").click()
    assert saved.value.suggested_filename == "pink-hair-green-eyes-41.png"
    image = Image.open(saved.value.path())
    assert np.array_equal(np.asarray(image.convert("RGB"), dtype=float), canvas(page, "image"))
    page.locator("#more button").nth(2).click()
    assert page.get_by_label("Seed", exact=True).input_value() == "44"
    assert_same(canvas(page, "image"), site.expected(normal(44, 9), labels))
    assert not site.seen


def test_save_waits_for_the_image_that_the_controls_ask_for(sites: dict[str, Site], browser: Browser) -> None:
    page = settle(sites["tagged"].open(browser))
    button = page.get_by_role("button", name="Save image")
    assert button.is_enabled()
    busy = page.evaluate(
        """() => {
          const seed = document.getElementById("seed");
          seed.value = 7;
          seed.dispatchEvent(new Event("input"));
          return document.getElementById("save").disabled;
        }"""
    )
    assert busy is True
    settle(page)
    assert button.is_enabled()


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
    assert_same(canvas(page, "image"), site.expected(normal(1, 9), (9, 8)))


def test_an_invalid_seed_draws_nothing(sites: dict[str, Site], browser: Browser) -> None:
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
    assert_same(canvas(page, "image"), site.expected(normal(0, 9), (8, 7)))
    page.get_by_role("group", name="hair").get_by_label("pink").check()
    assert enabled("eyes") == ["red"]
    assert page.inner_text("#caption") == "pink hair, red eyes, seed 0", "the eyes follow"
    assert_same(canvas(page, "image"), site.expected(normal(0, 9), (7, 9)))
    assert not site.seen


def test_a_generator_without_tags(sites: dict[str, Site], browser: Browser) -> None:
    site = sites["untagged"]
    page = site.open(browser)
    assert page.locator("fieldset").count() == 0
    assert page.inner_text("#caption") == "seed 0"
    assert_same(canvas(page, "image"), site.expected(normal(0, 9), (0, 0)))
    assert not site.seen


def test_it_works_from_the_disk(sites: dict[str, Site], browser: Browser) -> None:
    site = Site(sites["tagged"].export, sites["tagged"].folder, sites["tagged"].folder.as_uri() + "/index.html")
    assert_same(canvas(site.open(browser), "image"), site.expected(normal(0, 9), (8, 9)))
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
    assert_same(canvas(page, "image"), site.expected(normal(0, 9), (8, 4)))
    assert page.locator("img, b, i").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not site.seen


def test_a_model_that_does_not_load_shows_a_message(sites: dict[str, Site], browser: Browser) -> None:
    page = altered(sites["tagged"], "broken", onnx="AAAA").open(browser)
    assert page.inner_text("#status").startswith("This browser cannot run the generator: ")
    assert page.get_by_role("button", name="Save image").is_disabled()


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
