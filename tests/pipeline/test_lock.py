from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.home import Home
from pipeline.lock import exclusive, in_use
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from pipeline.home import Home
from pipeline.lock import exclusive
with exclusive(Home(Path(sys.argv[1])), "one"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_of_a_sweep_is_refused_and_another_sweep_is_not(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with exclusive(home, "one"):
        assert in_use(home, "one")
        with pytest.raises(UserError, match=f"'one' is in use by process {os.getpid()}"), exclusive(home, "one"):
            pytest.fail("two held it")
        with exclusive(home, "two"):
            assert in_use(home, "two")
    assert not in_use(home, "one")


def test_a_killed_driver_lets_go(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert in_use(Home(tmp_path), "one")
    process.kill()
    process.wait()
    assert not in_use(Home(tmp_path), "one")


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to home"), exclusive(Home(tmp_path / "file"), "one"):
        pytest.fail("it was held")
