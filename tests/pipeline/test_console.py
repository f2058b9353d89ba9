"""Progress of stages where standard error is not a terminal."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from pipeline import console
from pipeline.console import Stages, show_stage, time_left


class Lines(io.StringIO):
    """Collects what is printed and sets ``printed`` once a text was."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.printed = text, threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if self.text in self.getvalue():
            self.printed.set()
        return count


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages take no time, however busy the machine is."""
    monkeypatch.setattr(console.time, "monotonic", lambda: 100.0)


def test_a_stage_prints_how_far_it_is_without_being_called_again() -> None:
    file = Lines("tag classifier: 40% 12 s left")
    with show_stage(Console(file=file, width=200), "tag classifier", every=0.001) as update:
        update("tag classifier: 40% 12 s left")
        assert file.printed.wait(60)
    assert file.getvalue().splitlines()[-1].startswith("tag classifier: ")


def test_a_stage_of_another_process_leaves_the_time_to_who_shows_it() -> None:
    file = Lines("40%\n")
    with show_stage(Console(file=file, width=200), "tag classifier", every=0.001, elapsed=False) as update:
        update("40%")
        assert file.printed.wait(60)
    assert "so far" not in file.getvalue()


def test_the_first_line_does_not_wait_for_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FIRST_SECONDS", 0.001)
    file = Lines("a few updates (")
    with show_stage(Console(file=file, width=200), "a few updates", every=600.0):
        assert file.printed.wait(60)


@pytest.mark.usefixtures("_stopped_clock")
def test_a_stage_that_ends_before_the_first_line_prints_one() -> None:
    file = Lines("")
    with show_stage(Console(file=file, width=200), "images of [faces]") as update:
        update("half")
    assert file.getvalue() == "images of [faces]: 0 s\n"


@pytest.mark.usefixtures("_stopped_clock")
def test_stages_of_a_command_print_their_share() -> None:
    file = Lines("features: 25% (0 s so far, about ")
    with Stages(Console(file=file, width=200), every=0.001)("features") as update:
        update(1, 4)
        assert file.printed.wait(60)
    unknown = Lines("features (0 s so far)\n")
    with Stages(Console(file=unknown, width=200), every=0.001)("features"):
        assert unknown.printed.wait(60)


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize(("least", "text"), [(0.0, "trials: 0 s\n"), (60.0, "")])
def test_short_stages_of_brief_commands_print_nothing(least: float, text: str) -> None:
    file = Lines("")
    with Stages(Console(file=file, width=200), least=least)("trials"):
        pass
    assert file.getvalue() == text


@pytest.mark.parametrize(
    ("elapsed", "share", "text"),
    [(10, 0.25, ", about 30 s left"), (300, 0.5, ", about 5 min left"), (1, 0, ""), (1, 1, "")],
)
def test_the_estimate_is_by_hand(elapsed: float, share: float, text: str) -> None:
    assert time_left(elapsed, share) == text
