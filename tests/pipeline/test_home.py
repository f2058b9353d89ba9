"""The home of all sweeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.home import Home, require_key
from trainables.errors import UsageError, UserError


def test_a_given_folder_wins_then_the_variable_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANSWEEP_HOME", raising=False)
    assert Home.find(None).root == tmp_path / "gansweep-runs"
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path / "mine"))
    assert Home.find(None).root == tmp_path / "mine"
    assert Home.find(Path("here")).root == tmp_path / "here"
    assert not list(tmp_path.iterdir())


def test_all_paths_are_below_the_home(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    assert home.tracking == f"sqlite:///{tmp_path}/mlflow.db"
    assert home.study == f"sqlite:///{tmp_path}/optuna.db"
    assert home.cache == tmp_path / "cache"
    assert home.sweep("faces-1.b_2") == tmp_path / "trials" / "faces-1.b_2"
    assert home.artifacts("faces") == tmp_path / "artifacts" / "faces"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "-n", "a b", "a\nb", "ä", "x" * 65, "a'b"])
def test_a_name_that_is_no_safe_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="1 to 64 letters") as caught:
        Home.find(tmp_path).sweep(name)
    assert repr(name) in str(caught.value)


def test_the_longest_name_is_allowed(tmp_path: Path) -> None:
    assert Home.find(tmp_path).sweep("x" * 64).name == "x" * 64


@pytest.mark.parametrize(
    "key",
    [
        "s-00003",
        "s-123456",
        "s-00003-c02",
        "s-00003-c02-k50",
        "s-00003-a-winner-00",
        "s-00003-a-with-losses.tag_weight-11-k5",
    ],
)
def test_keys_of_trials_and_repeats_name_folders(key: str) -> None:
    assert require_key("s", key) == key


@pytest.mark.parametrize(
    "key",
    [
        "s-3",
        "t-00003",
        "s-00003-c2",
        "s-00003/../x",
        "s-00003-a-../x-00",
        "s-00003-a-W-00",
        "s-00003-c02-k",
        "s-00003-a-..-00",
    ],
)
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=re.escape(repr(key))):
        require_key("s", key)


@pytest.mark.parametrize(("name", "owner"), [("Default", "MLflow"), ("gansweep-doctor", "`gansweep doctor`")])
def test_names_of_others_are_refused(tmp_path: Path, name: str, owner: str) -> None:
    with pytest.raises(UsageError, match=f"sweep name '{name}' is reserved by {owner}"):
        Home.find(tmp_path).sweep(name)


def test_a_cache_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    home = Home.find(tmp_path)
    home.require_writable_cache()
    assert not list(home.cache.iterdir())
    home.cache.rmdir()
    home.cache.touch()
    with pytest.raises(UserError, match=f"cannot write to cache {re.escape(str(home.cache))}: .*; give another --home"):
        home.require_writable_cache()
