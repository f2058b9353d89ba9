from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.home import Home
from pipeline.sweep_lock import is_locked, lock_sweep
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from pipeline.home import Home
from pipeline.sweep_lock import lock_sweep
with lock_sweep(Home(Path(sys.argv[1])), "one"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_of_a_sweep_is_refused_and_another_sweep_is_not(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with lock_sweep(home, "one"):
        assert is_locked(home, "one")
        with pytest.raises(UserError, match=f"'one' is in use by process {os.getpid()}"), lock_sweep(home, "one"):
            pytest.fail("two held it")
        with lock_sweep(home, "two"):
            assert is_locked(home, "two")
    assert not is_locked(home, "one")


@pytest.mark.real_processes
def test_the_lock_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert is_locked(Home(tmp_path), "one")
    process.kill()
    process.wait()
    assert not is_locked(Home(tmp_path), "one")


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to home"), lock_sweep(Home(tmp_path / "file"), "one"):
        pytest.fail("it was held")
