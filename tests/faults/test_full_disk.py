"""A home on a disk that fills up while a sweep runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.faces import SIZE
from tests.support.pipeline.command_line import Hold
from tests.support.pipeline.driver import Driver, fault_settings, require_whole
from tests.support.stub_tag_classifier import place_tag_classifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.real_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left, and return the file that does."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def test_trials_of_a_home_on_a_full_disk_continue_once_there_is_space(
    small_disk: Path, faces: Path, tmp_path: Path
) -> None:
    place_tag_classifier(small_disk / "home", faces, SIZE)
    settings = fault_settings(small_disk / "home", faces, "full", trials=1)
    hold = Hold(tmp_path)
    driver = Driver.start(settings, tmp_path, hold=hold)
    hold.wait(driver.process)
    ballast = fill(small_disk)
    hold.release()
    code, err = driver.end()
    assert code == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("gansweep: error: ")]
    assert "no space left" in line
    assert "Traceback" not in err
    assert "autoflush" not in err
    ballast.unlink()
    again = Driver.start(settings, tmp_path)
    code, err = again.end()
    assert code == 0, err
    require_whole(again.swept, 1)
