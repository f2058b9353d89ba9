"""Tests of the rule for flaky tests, in a pytest of its own."""

from __future__ import annotations

import pytest

PLUGINS = ("xdist.plugin", "pytest_rerunfailures", "tests.support.flaky")
FAILS_ONCE = """
import pathlib
import pytest

@pytest.mark.real_processes
def test_marked():
    count("marked", {failures})

def test_unmarked():
    count("unmarked", {unmarked})

def count(name, failures):
    path = pathlib.Path(name)
    runs = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (runs + 1))
    assert runs >= failures, f"run {{runs}} of {{name}}"
"""


def run(pytester: pytest.Pytester, workers: int, failures: int, unmarked: int) -> tuple[pytest.RunResult, list[str]]:
    """A result, and the lines that name flaky tests."""
    pytester.makepyfile(FAILS_ONCE.format(failures=failures, unmarked=unmarked))
    plugins = [word for name in PLUGINS for word in ("-p", name)]
    result = pytester.runpytest_subprocess(*plugins, "-n", str(workers))
    return result, [line for line in result.outlines if line.startswith("FLAKY")]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_marked_test_that_fails_once_passes_and_is_listed(pytester: pytest.Pytester, workers: int) -> None:
    result, flaky = run(pytester, workers, failures=1, unmarked=0)
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    assert len(flaky) == 1
    assert "test_marked" in flaky[0]
    assert "run 0 of marked" in flaky[0]


def test_marked_test_that_fails_twice_fails(pytester: pytest.Pytester) -> None:
    result, flaky = run(pytester, 0, failures=2, unmarked=0)
    assert (result.ret, flaky) == (1, [])
    result.assert_outcomes(passed=1, failed=1)


def test_unmarked_test_fails_at_once(pytester: pytest.Pytester) -> None:
    result, flaky = run(pytester, 0, failures=0, unmarked=1)
    assert (result.ret, flaky) == (1, [])
    result.assert_outcomes(passed=1, failed=1)
    assert (pytester.path / "unmarked").read_text() == "x"


def test_fixture_of_a_real_process_gives_the_mark(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pathlib
        import pytest

        @pytest.fixture
        def browser():
            pass

        def test_page(browser):
            path = pathlib.Path("seen")
            seen = path.exists()
            path.touch()
            assert seen
        """
    )
    result = pytester.runpytest_subprocess(*(word for name in PLUGINS for word in ("-p", name)))
    assert result.ret == 0
    assert any(line.startswith("FLAKY") and "test_page" in line for line in result.outlines)


def test_nothing_is_listed_when_all_pass(pytester: pytest.Pytester) -> None:
    result, flaky = run(pytester, 0, failures=0, unmarked=0)
    assert (result.ret, flaky) == (0, [])
