"""The image folder changes between two starts of a sweep."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pipeline.cli.main import main
from tests.support.pipeline.sweep import sweep, tiny_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_sweep_does_not_resume_with_other_images(
    home_with_classifier: Path, faces: Path, local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "faces"
    shutil.copytree(faces, data)
    swept = sweep(tiny_settings(home_with_classifier, data, "pictures", trials=1, max_kimg=1))
    runs = [run.info.run_id for run in swept.runs()]
    words = ["resume", "pictures", "--home", str(home_with_classifier)]
    first, second = sorted((data / "faces").iterdir())[:2]
    tags = (data / "tags.csv").read_text()
    kept = first.read_bytes()

    def refused() -> str:
        capsys.readouterr()
        assert main(words) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"gansweep: error: data folder {data} is not what sweep 'pictures' began with: ")
        assert line.endswith(" --name")
        return line.split("began with: ")[1].split(";")[0]

    shutil.copy(second, data / "another.png")
    assert refused() == "1 image added (another)"
    (data / "another.png").unlink()
    shutil.copy(second, first)
    assert refused() == f"1 image altered ({first.stem})"
    first.unlink()
    assert refused() == f"1 image removed or unreadable ({first.stem})"
    first.write_bytes(kept)
    lines = tags.splitlines()
    (data / "tags.csv").write_text("\n".join([*lines[:5], *lines[6:]]) + "\n")
    assert refused().startswith("1 image with other tags (")
    (data / "tags.csv").write_text(tags)
    assert main(words) == 0
    assert [run.info.run_id for run in swept.runs()] == runs
