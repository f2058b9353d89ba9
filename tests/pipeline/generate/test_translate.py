"""Images through an export that translates: alike in every backend, in files of the same names, faults named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.example_inputs import synthetic_images
from pipeline.bundle.manifest import CONFIG, GOLDEN, ONNX, TAGS, read_json, write_manifest
from pipeline.bundle.onnx_export import write_portable
from pipeline.bundle.requests import translation_labels
from pipeline.cli.main import main
from pipeline.gallery import onnx_web
from pipeline.gallery.gallery import write_gallery
from pipeline.generate.translate import translate_files
from tests.support.pipeline.translators import SIZE, VOCABULARY, write_translator
from trainables.data.images import load_image
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError
from trainables.networks.translation import CycleGenerator

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_translator(tmp_path_factory.mktemp("translators") / "cyclegan")


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cyclegan with every file."""
    folder = write_translator(tmp_path_factory.mktemp("portable") / "cyclegan")
    found = write_portable(Bundle.load(folder), folder, half=True)
    write_manifest(folder, {"differences": found})
    return folder


@pytest.fixture
def damaged(portable: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return shutil.copytree(portable, tmp_path / "damaged")


@pytest.fixture(scope="module")
def bundle(export: Path) -> Bundle:
    return Bundle.load(export)


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Changes both groups."""
    return Bundle.load(
        write_translator(tmp_path_factory.mktemp("translators") / "stargan", "stargan", ("domain", "eyes"))
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of several shapes and kinds, one of them transparent, one level deeper."""
    folder = tmp_path / "in"
    shapes = {"1.jpg": (16, 16), "deep/2.png": (40, 20), "deep/1.webp": (9, 33), "wide.bmp": (64, 16)}
    for seed, (name, (width, height)) in enumerate(shapes.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Arithmetic may differ in the last bit, an image by one level then."""
    return bool(np.abs(one.astype(int) - other).max() <= 1)


def require_alike(folder: Path) -> None:
    """Every backend translates 7 images to all classes at once as torch does each by itself."""
    pixels = noise(7)
    labels = np.array([[row % 2, row % 3] for row in range(7)])
    plain = Bundle.load(folder)
    expected = [plain.translate(pixels[[row]], labels[[row]])[0] for row in range(7)]
    for backend in ("torch", "onnx", "pt2"):
        opened = Bundle.load(folder, backend)
        assert opened.golden_error() <= 1e-4
        assert alike(opened.translate(pixels, labels), np.stack(expected))


def test_every_way_to_run_a_cyclegan_translates_alike(portable: Path) -> None:
    differences = read_json(portable / "manifest.json")["differences"]
    assert max(differences["generator.onnx"], differences["generator.pt2"]) <= 1e-4
    require_alike(portable)
    assert 0 < Bundle.load(portable, "onnx-fp16").golden_error() < 0.1


@pytest.mark.parametrize("targets", [("eyes",), ("eyes", "domain")])
def test_every_way_to_run_a_stargan_translates_alike(tmp_path: Path, targets: tuple[str, ...]) -> None:
    folder = write_translator(tmp_path / "e", "stargan", targets)
    assert max(write_portable(Bundle.load(folder), folder).values()) <= 1e-4
    write_manifest(folder, {})
    require_alike(folder)


def test_golden_images_are_of_made_up_sources_in_both_directions(damaged: Path) -> None:
    golden = load_file(damaged / GOLDEN)
    assert {name: value.shape for name, value in golden.items()} == {
        "sources": (4, 3, SIZE, SIZE), "tags": (4, 2), "pictures": (4, 3, SIZE, SIZE),
    }  # fmt: skip
    assert golden["tags"][:, 0].tolist() == [0, 1, 0, 1]
    assert (golden["sources"] == synthetic_images(4, SIZE)).all()
    assert np.abs(golden["sources"]).max() <= 1
    assert golden["sources"].std() > 0.3
    save_file({**golden, "pictures": golden["pictures"] + 0.5}, damaged / GOLDEN)
    write_manifest(damaged, {})
    assert Bundle.load(damaged).golden_error() == pytest.approx(0.5, abs=1e-5)


def test_each_direction_is_its_own_network(bundle: Bundle) -> None:
    generator = bundle.network.generator  # type: ignore[attr-defined]
    assert isinstance(generator, CycleGenerator)
    pixels = noise(2)
    given = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    with torch.inference_mode():
        expected = torch.cat([generator.b_to_a(given[:1]), generator.a_to_b(given[1:])])
    shown = expected.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert alike(bundle.translate(pixels, np.array([[0, 1], [1, 1]])), shown)


def test_groups_that_are_no_targets_do_not_count(bundle: Bundle) -> None:
    pixels = noise(3)
    one, other = (bundle.translate(pixels, np.array([[1, eyes]] * 3)) for eyes in (0, UNKNOWN))
    assert (one == other).all()


def test_what_cannot_be_translated_is_refused(bundle: Bundle) -> None:
    asked = np.array([[1, 0]])
    for pixels, labels, said in (
        (noise(0), asked[:0], "with n 1 or more"),
        (noise(1)[:, :8], asked, r"\(1, 8, 16, 3\) .* needed are \(n, 16, 16, 3\)"),
        (noise(2), asked, r"labels \(1, 2\)"),
        (noise(1), np.array([[2, 0]]), "label 2 is no class of domain; allowed: 0 to 1"),
        (noise(1), np.array([[UNKNOWN, 0]]), "label -1 is no class of domain"),
    ):
        with pytest.raises(UsageError, match=said):
            bundle.translate(pixels, labels)


def test_onnx_translates_without_torch(portable: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; import numpy as np; from pipeline.bundle.bundle import Bundle\n"
        f"bundle = Bundle.load(Path({str(portable)!r}), 'onnx')\n"
        "print(bundle.translate(np.zeros((2, 16, 16, 3), np.uint8), np.array([[0, 0], [1, 0]])).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (done.stdout, done.returncode) == ("(2, 16, 16, 3)\n", 0), done.stderr


def test_files_of_any_size_keep_their_names(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in images.rglob("*") if path.is_file()}
    steps: list[tuple[int, int]] = []
    done = translate_files(bundle, [images], "blonde hair", tmp_path / "out", progress=lambda *step: steps.append(step))
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["1.png", "deep/1.png", "deep/2.png", "wide.png"]
    for name, source in (("1", "1.jpg"), ("deep/2", "deep/2.png"), ("wide", "wide.bmp")):
        square = load_image(images / source, SIZE)
        expected = bundle.translate(square[None], np.array([[1, 0]]))[0]
        assert alike(np.asarray(Image.open(tmp_path / "out" / f"{name}.png")), expected)
    assert (done.images, done.bad, done.passed_over, done.asked) == (4, (), (), "blonde hair domain")
    assert steps == [(4, 4)]
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("fit", "channels"), [("pad", 3), ("stretch", 1)])
def test_images_become_square_and_grey_as_in_training(fit: str, channels: int, images: Path, tmp_path: Path) -> None:
    folder = write_translator(tmp_path / "export", fit=fit, channels=channels)
    found = write_portable(Bundle.load(folder), folder)
    write_manifest(folder, {"differences": found})
    sheet = tmp_path / "sheet.png"
    for backend in ("torch", "onnx", "pt2"):
        bundle = Bundle.load(folder, backend)
        assert bundle.golden_error() <= 1e-4
        translate_files(bundle, [images], "blonde hair", tmp_path / backend, sheet=sheet)
        sheet.unlink()
        for name, source in (("deep/1", "deep/1.webp"), ("wide", "wide.bmp")):
            square = load_image(images / source, SIZE, fit, channels)
            expected = bundle.translate(square[None], np.array([[1, 0]]))[0]
            with Image.open(tmp_path / backend / f"{name}.png") as written:
                assert written.mode == ("RGB" if channels == 3 else "L")
                assert alike(np.asarray(written).reshape(SIZE, SIZE, channels), expected)
    with pytest.raises(UsageError, match=rf"needed are \(n, 16, 16, {channels}\)"):
        bundle.translate(np.zeros((1, SIZE, SIZE, 4 - channels), np.uint8), np.array([[0, 0]]))


def test_an_export_with_an_unknown_fit_is_refused(export: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(export, tmp_path / "export"))
    (copy / CONFIG).write_text((copy / CONFIG).read_text().replace('"crop"', '"squeeze"'))
    write_manifest(copy, {})
    with pytest.raises(UserError, match=r"has fit 'squeeze'; allowed: crop, pad, stretch"):
        Bundle.load(copy)


def test_many_images_go_in_parts(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for place, pixels in enumerate(noise(7)):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{place}.png")
    whole = translate_files(bundle, [tmp_path / "in"], "black hair", tmp_path / "whole")
    monkeypatch.setattr("pipeline.generate.translate.AT_ONCE", 3)
    steps: list[tuple[int, int]] = []
    parts = translate_files(
        bundle, [tmp_path / "in"], "black hair", tmp_path / "parts", progress=lambda *step: steps.append(step)
    )
    assert steps == [(3, 7), (6, 7), (7, 7)]
    assert whole.images == parts.images == 7
    for place in range(7):
        one, other = (np.asarray(Image.open(tmp_path / name / f"{place}.png")) for name in ("whole", "parts"))
        assert alike(one, other)


def test_bad_images_are_named_after_the_others_are_done(
    export: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "empty.jpg").write_bytes(b"")
    (images / "text.png").write_text("no image")
    (images / "notes.txt").write_text("passed over")
    words = ["translate", str(export), str(images), str(tmp_path / "gone.png"), "-o", str(tmp_path / "out")]
    assert main([*words, "--to", "blonde hair", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert {(Path(one["name"]).name, one["kind"]) for one in said["bad"]} == {
        ("empty.jpg", "empty"), ("text.png", "not an image"), ("gone.png", "missing"),
    }  # fmt: skip
    assert (said["pictures"], said["to"]) == (4, "blonde hair domain")
    assert said["passed_over"] == [str(images / "notes.txt")]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4
    shutil.rmtree(tmp_path / "out")
    assert main([*words, "--to", "blonde hair"]) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"translated 4 images to blonde hair domain in {tmp_path / 'out'}"
    assert second.startswith("passed over 1 file that is no image: ")
    assert third.startswith("3 images bad: ")
    assert "empty.jpg (empty)" in third


def test_only_bad_images_are_a_failure(export: Path, images: Path, tmp_path: Path) -> None:
    done = ["translate", str(export), str(images / "1.jpg"), str(images / "deep"), "--to", "black hair domain"]
    translate_files(Bundle.load(export), [Path(word) for word in done[2:4]], "black hair", tmp_path / "both")
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"1.jpg.png", "1.webp.png", "2.png"}
    assert main([*done[:2], *done[2:3], *done[4:], "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.png"]


def test_no_output_is_written_if_no_image_is_readable(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of 1 image could be read: .*bad\.png \(empty\)"):
        translate_files(bundle, [tmp_path / "bad.png"], "black hair", tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no images in .*none; looked for \.avif, \.bmp"):
        translate_files(bundle, [tmp_path / "none"], "black hair", tmp_path / "out")
    with pytest.raises(UsageError, match="no images; give files, or folders"):
        translate_files(bundle, [], "black hair", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "none"]


def test_images_of_one_name_are_distinguished_by_suffix(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "in"
    (place / "x.png").mkdir(parents=True)
    colours = {"a.jpg": 0, "a.png": 90, "b.png": 180, "x.jpg": 250, "x.png/1.png": 120}
    for name, grey in colours.items():
        Image.new("RGB", (SIZE, SIZE), (grey, grey, grey)).save(place / name)
    done = translate_files(bundle, [place, place / "a.jpg"], "blonde hair", tmp_path / "out")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
                     if path.is_file())  # fmt: skip
    assert written == ["a.jpg.png", "a.png.png", "b.png", "x.jpg.png", "x.png/1.png"]
    assert (done.images, done.bad) == (5, ())
    (place / "x.jpg.png").mkdir()
    Image.new("RGB", (SIZE, SIZE)).save(place / "x.jpg.png" / "1.png")
    with pytest.raises(UsageError, match=r"x\.jpg would become x\.jpg\.png, which is a folder of other images; rename"):
        translate_files(bundle, [place], "blonde hair", tmp_path / "more")
    (tmp_path / "b.png").write_bytes((place / "b.png").read_bytes())
    with pytest.raises(UsageError, match=r"would both become b\.png\.png; translate them to two folders"):
        translate_files(bundle, [place / "b.png", tmp_path / "b.png"], "blonde hair", tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_a_folder_without_images_beside_others_is_named(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = translate_files(bundle, [images, tmp_path / "none"], "blonde hair", tmp_path / "out")
    assert f"no images in {tmp_path / 'none'}" in done.summary()
    assert "passed over" not in done.summary()
    assert done.to_json()["passed_over"] == [str(tmp_path / "none")]


def test_inputs_and_other_files_are_never_written_over(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    for output in (images, images / "deep", images / "1.jpg"):
        with pytest.raises(UserError):
            translate_files(bundle, [images], "black hair", output)
    with pytest.raises(UsageError, match="translations go to a folder"):
        translate_files(bundle, [images], "black hair", tmp_path / "out.png")
    (tmp_path / "sheet.png").touch()
    for sheet in (tmp_path / "sheet.png", tmp_path / "out" / "sheet.png"):
        with pytest.raises(UserError, match="exists or lies in the folder of -o"):
            translate_files(bundle, [images], "black hair", tmp_path / "out", sheet=sheet)
    with pytest.raises(UsageError, match=r"--grid is .*; it is one image"):
        translate_files(bundle, [images], "black hair", tmp_path / "out", sheet=tmp_path / "folder")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in images.iterdir()) == ["1.jpg", "deep", "wide.bmp"]


def test_a_sheet_has_sources_above_translations(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for place, pixels in enumerate(noise(10)):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{place}.png")
    translate_files(bundle, [tmp_path / "in"], "black hair", tmp_path / "out", sheet=tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 98, 8 * 98, 3)  # 8 columns of 16 px enlarged six times, and a gap
    tiles = sheet.reshape(2, 98, 8, 98, 3)[:, 3:96:6, :, 3:96:6]
    for place in range(8):
        assert (tiles[0, :, place] == noise(10)[place]).all()
        assert (tiles[1, :, place] == np.asarray(Image.open(tmp_path / "out" / f"{place}.png"))).all()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("blonde hair", (1, UNKNOWN)), ("  Blonde   HAIR ", (1, UNKNOWN)), ("black hair domain", (0, UNKNOWN)),
    ],
)  # fmt: skip
def test_the_class_of_a_single_target_will_do(bundle: Bundle, text: str, labels: tuple[int, ...]) -> None:
    assert translation_labels(bundle, text) == labels


def test_every_target_of_several_is_named_in_any_order(star: Bundle) -> None:
    assert translation_labels(star, "blue eyes, blonde hair domain") == (1, 1)
    with pytest.raises(UsageError, match=r"--to 'blue eyes' .*domain.*: domain: "):
        translation_labels(star, "blue eyes")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r'no tags to translate to; give for instance --to "blonde hair domain", of domain: black hair, blonde'),
        ("blond hair", r"--to 'blond hair' cannot be read; .* domain: black hair, .*; did you mean 'blonde hair'"),
        ("red hair domain", r"--to: unknown domain 'red hair'; allowed: black hair, blonde hair"),
        ("blue eyes", r"--to 'blue eyes': this generator does not change eyes; it goes to domain: black hair"),
        ("blonde", r"--to 'blonde' cannot be read; this generator goes to domain: black hair, blonde hair"),
        ("", "--to '' cannot be read; this generator goes to domain: black hair, blonde hair"),
    ],
)  # fmt: skip
def test_unknown_tags_are_refused_with_the_known_ones(bundle: Bundle, text: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        translation_labels(bundle, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("more", [["blue eyes"], [], ["--panel", "noise"], ["blue eyes", "--interpolate", "5"]])
def test_generate_refuses_a_translator_and_names_translate(
    export: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(export), *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "draws nothing from noise, it translates images; use `gansweep translate DIR IMAGE" in said


def test_gallery_refuses_a_translator_and_names_translate(portable: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use `gansweep translate DIR IMAGE"):
        write_gallery(portable, tmp_path / "site", tmp_path)
    assert not (tmp_path / "site").exists()


def test_gallery_refuses_a_translator_before_it_fetches(
    portable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr(onnx_web, "web_runtime", lambda *given: fetched.append(given) or tmp_path)
    assert main(["gallery", str(portable), "-o", str(tmp_path / "site"), "--home", str(tmp_path)]) == 2
    assert "use `gansweep translate DIR IMAGE" in capsys.readouterr().err
    assert fetched == []


def test_translate_refuses_a_generator_and_names_generate(
    bundle_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", str(bundle_folder), str(images), "--to", "blue hair", "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "draws them from noise; use `gansweep generate DIR TAGS -o OUT`" in capsys.readouterr().err
    with pytest.raises(UsageError, match="gansweep generate"):
        Bundle.load(bundle_folder).translate(noise(1), np.array([[0, 0]]))


def test_drawing_in_python_is_refused_too(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="gansweep translate"):
        bundle.draw(np.array([[0, 0]]), seed=0)


def edited(folder: Path, name: str, change: Any) -> Path:
    content = read_json(folder / name)
    change(content)
    (folder / name).write_text(json.dumps(content))
    write_manifest(folder, {})
    return folder


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["hair"], "unknown tag group 'hair'; allowed: domain, eyes"),
        (["eyes"], "names the targets eyes, which cyclegan cannot translate"),
        (["domain", "domain"], "names the targets domain, domain"),
        ([], "names the targets domain, eyes"),
        (7, "cannot be used"),
    ],
)
def test_targets_that_do_not_fit_are_refused(tmp_path: Path, targets: Any, said: str) -> None:
    folder = edited(write_translator(tmp_path / "e"), TAGS, lambda tags: tags.update(targets=targets))
    with pytest.raises(UserError, match=said) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)


def test_an_export_without_targets_changes_every_group(tmp_path: Path) -> None:
    folder = write_translator(tmp_path / "e", "stargan", VOCABULARY.names)
    assert Bundle.load(edited(folder, TAGS, lambda tags: tags.pop("targets"))).targets == ("domain", "eyes")


def test_an_onnx_file_of_another_size_is_refused(portable: Path, tmp_path: Path) -> None:
    large = write_translator(tmp_path / "large", image_size=32)
    shutil.copy(portable / ONNX, large / ONNX)
    write_manifest(large, {})
    with pytest.raises(UserError, match=r"asks for rows of \{'sources': \[3, 32, 32\], 'tags': \[2\]\}"):
        Bundle.load(large, "onnx")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = write_translator(tmp_path / "e")
    edited(folder, CONFIG, lambda about: about["params"].update({"generator.width": 8}))
    with pytest.raises(UserError, match="by the configuration"):
        Bundle.load(folder)
