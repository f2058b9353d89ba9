"""Registered generators as MLflow loads and serves them: here, over HTTP, and in an environment of their own."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import urllib.request
import venv
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.serve.mlflow_model import save_served
from search_spaces.registry import find_space
from tests.support.pipeline.exports import make_portable, write_bundle
from tests.support.servers.serving import Served

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.pyfunc import PyFuncModel
    from numpy.typing import NDArray

KINDS = {"tagged": "acgan", "untagged": "dcgan", "pairs": "combo_dcgan"}
"""Space of each."""
PREDICT = """
import sys, hashlib, mlflow.pyfunc, pandas as pd
table = mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame({"tags": ["blue hair red eyes"], "seed": [5]}))
assert "torch" not in sys.modules
assert sys.modules["pipeline.bundle.bundle"].__file__.startswith(sys.argv[1])
print(hashlib.sha256(table["png"][0]).hexdigest())
"""


def params(kind: str) -> dict[str, Any]:
    small = {"image_size": 16, "generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4}
    return {**find_space(KINDS[kind]).recipe, **small}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    root = tmp_path_factory.mktemp("served")
    folders = {kind: make_portable(write_bundle(root / kind, **params(kind))) for kind in KINDS}
    return {kind: Bundle.load(folder, "onnx") for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def saved(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for kind, bundle in bundles.items():
        save_served(bundle, root / kind)
    return {kind: root / kind for kind in bundles}


@pytest.fixture(scope="module")
def models(saved: dict[str, Path]) -> dict[str, PyFuncModel]:
    return {kind: mlflow.pyfunc.load_model(str(folder)) for kind, folder in saved.items()}


def pixels(png: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


def drawn(bundle: Bundle, text: str, seed: int) -> NDArray[np.uint8]:
    """What ``gansweep generate DIR TEXT -n 1 --seed SEED`` draws."""
    asked = bundle.vocabulary.parse(text) if text else (-1,) * len(bundle.vocabulary.groups)
    return bundle.draw(bundle.complete(asked, 1, seed), seed)[0]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("tagged", [("blue hair red eyes", 0), ("Red EYES,  blue hair;", 7), ("green eyes", 3)]),
        ("tagged", [("orange hair", 2**31 - 1)]),
        ("untagged", [("", 0), ("  ", 9)]),
        ("pairs", [("pink hair red eyes", 4), ("green eyes", 5)]),
    ],
)  # fmt: skip
def test_a_row_is_what_generate_draws(
    bundles: dict[str, Bundle], models: dict[str, PyFuncModel], kind: str, rows: list[tuple[str, int]]
) -> None:
    table = models[kind].predict(pd.DataFrame(rows, columns=["tags", "seed"]))
    assert list(table.columns) == ["png"]
    for png, (text, seed) in zip(table["png"], rows, strict=True):
        expected = drawn(bundles[kind], text.strip(), seed).astype(int)
        assert np.abs(pixels(png) - expected).max() <= 1  # one row or three: convolutions may round differently


def test_generators_without_tags_need_no_column_of_them(models: dict[str, PyFuncModel]) -> None:
    assert len(models["untagged"].predict(pd.DataFrame({"seed": [1, 2]}))) == 2


def test_more_rows_than_a_batch_stay_in_order(bundles: dict[str, Bundle], models: dict[str, PyFuncModel]) -> None:
    table = models["tagged"].predict(pd.DataFrame({"tags": ["blue hair red eyes"] * 70, "seed": range(70)}))
    for place in (0, 63, 64, 69):
        expected = drawn(bundles["tagged"], "blue hair red eyes", place).astype(int)
        assert np.abs(pixels(table["png"][place]) - expected).max() <= 1


@pytest.mark.parametrize(
    ("kind", "text", "seed", "complaint"),
    [
        ("tagged", "blue hair red eyes", -1, "row 1: seed is -1; allowed: 0 to 2147483647"),
        ("tagged", "blue hair red eyes", 2**31, "row 1: seed is 2147483648; allowed"),
        ("tagged", "mauve hair", 0, "row 1: unknown hair 'mauve'; allowed: orange, white"),
        ("tagged", "blue hair red hair", 0, "row 1: tags 'blue hair red hair' name hair twice"),
        ("tagged", "", 0, "row 1: cannot read tags ''; expected for instance"),
        ("tagged", "blue hair and more", 0, "row 1: cannot read tags 'blue hair and more'"),
        ("tagged", "smile", 0, "row 1: cannot read tags 'smile'"),
        ("untagged", "blue hair", 0, "row 1: tags 'blue hair' mean nothing to this dcgan generator"),
        ("pairs", "white hair red eyes", 0, "row 1: 'white hair red eyes' did not occur in the training data"),
    ],
)
def test_unknown_tags_are_refused_by_row(
    models: dict[str, PyFuncModel], kind: str, text: str, seed: int, complaint: str
) -> None:
    good = {"tagged": "blue hair red eyes", "untagged": "", "pairs": "blue hair red eyes"}[kind]
    with pytest.raises(MlflowException) as refused:
        models[kind].predict(pd.DataFrame({"tags": [good, text], "seed": [0, seed]}))
    assert complaint in str(refused.value)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.real_processes
@pytest.mark.slow
def test_mlflow_serves_it_over_http(bundles: dict[str, Bundle], saved: dict[str, Path], tmp_path: Path) -> None:
    with Served(saved["tagged"], tmp_path) as server:
        rows = [{"tags": "blue hair red eyes", "seed": 5}, {"tags": "green eyes", "seed": 6}]
        status, answer = server.ask({"dataframe_records": rows})
        assert status == 200
        for row, one in zip(rows, answer["predictions"], strict=True):
            expected = drawn(bundles["tagged"], str(row["tags"]), int(str(row["seed"]))).astype(int)
            assert np.abs(pixels(base64.b64decode(one["png"])) - expected).max() <= 1
        status, answer = server.ask({"dataframe_records": [{"tags": "mauve hair", "seed": 5}]})
        assert status == 400
        assert "row 0: unknown hair 'mauve'" in answer["message"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_logged_requirements_suffice(bundles: dict[str, Bundle], saved: dict[str, Path], tmp_path: Path) -> None:
    try:
        urllib.request.urlopen("https://pypi.org/simple/pip/", timeout=10).close()
    except OSError as error:
        pytest.skip(f"PyPI cannot be reached: {error}")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    wanted = str(saved["tagged"] / "requirements.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--retries", "10", "-r", wanted], check=True, env=clean, cwd=tmp_path
    )
    found = subprocess.run(
        [python, "-c", PREDICT, str(saved["tagged"])],
        check=True,
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    code = [sys.executable, "-c", PREDICT.replace("assert", "#"), str(saved["tagged"])]
    here = subprocess.run(code, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout == here.stdout
