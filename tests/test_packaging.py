"""What an installation holds: every package and every file that the code reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = SETTINGS["tool"]["setuptools"]
NOT_INSTALLED = {"benchmarks", "deploy", "docs", "tests"}
TOP = sorted(
    path.name
    for path in REPOSITORY.iterdir()
    if path.name not in NOT_INSTALLED and not path.name.startswith(".") and any(path.glob("*.py"))
)


def folders(top: str) -> list[Path]:
    """The folder of a top-level package and all below it that hold something of their own."""
    found = [REPOSITORY / top, *(REPOSITORY / top).rglob("*")]
    return [path for path in found if path.is_dir() and path.name != "__pycache__"]


@pytest.mark.parametrize("top", TOP)
def test_every_folder_with_code_is_an_installed_package(top: str) -> None:
    packages = set(find_packages(str(REPOSITORY), **SETUPTOOLS["packages"]["find"]))
    with_code = {".".join(path.relative_to(REPOSITORY).parts) for path in folders(top) if any(path.glob("*.py"))}
    assert with_code == {name for name in packages if name.split(".")[0] == top}


def test_nothing_else_is_installed() -> None:
    packages = find_packages(str(REPOSITORY), **SETUPTOOLS["packages"]["find"])
    assert {name.split(".")[0] for name in packages} == set(TOP)


@pytest.mark.parametrize("top", TOP)
def test_every_file_that_is_no_code_is_package_data(top: str) -> None:
    patterns = SETUPTOOLS["package-data"]
    packaged = set()
    for folder in folders(top):
        name = ".".join(folder.relative_to(REPOSITORY).parts)
        for pattern in [*patterns["*"], *patterns.get(name, [])]:
            packaged |= set(folder.glob(pattern))
    there = {path for folder in folders(top) for path in folder.iterdir() if path.is_file()}
    assert {path for path in there if path.suffix not in (".py", ".pyc")} == packaged


@pytest.mark.parametrize("top", TOP)
def test_every_top_level_package_tells_its_types(top: str) -> None:
    assert (REPOSITORY / top / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.real_processes
def test_a_wheel_from_the_source_distribution_runs_elsewhere(tmp_path: Path) -> None:
    """Built from the sources that are distributed, so that neither of the two lacks a file."""
    build = "from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"

    def run_build(kind: str, folder: Path) -> Path:
        words = [sys.executable, "-c", f"import sys; {build.format(kind)}", str(tmp_path)]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600, check=True)
        return tmp_path / done.stdout.split()[-1]

    copy = tmp_path / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    if listed.returncode:
        pytest.skip("the checkout is no git repository")
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((REPOSITORY / name).read_bytes())
    with tarfile.open(run_build("sdist", copy)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(run_build("wheel", source)) as wheel:
        names = wheel.namelist()
        wheel.extractall(tmp_path / "site")
    assert not {name.split("/")[0] for name in names} & NOT_INSTALLED
    elsewhere = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    where = "import gansweep, pipeline.compare; print(gansweep.__file__, pipeline.compare.__file__)"
    for words, shown in (
        (["-c", where], str(tmp_path / "site")),
        (["-m", "gansweep", "spaces"], "acgan"),
        (["-m", "gansweep", "data", "synth", str(tmp_path / "faces"), "-n", "32", "--size", "32"], "32"),
        (["-m", "gansweep", "data", "inspect", str(tmp_path / "faces"), "--json"], '"complete": 32'),
    ):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=elsewhere,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        assert shown in done.stdout + done.stderr
