"""Spaces by name, and a user's own from a module."""

import sys

import pytest

from search_spaces.acgan import ACGAN
from search_spaces.registry import SPACES, find_space
from trainables.errors import UsageError, UserError

OWN = """
from search_spaces.space import Dimension, Space

MINE = Space("mine", "two widths", {"generator.width": 8}, (Dimension("generator.width", 8, choices=(8, 16)),))
NUMBER = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_built_in_spaces_are_found_by_their_own_names() -> None:
    assert find_space("acgan") is ACGAN
    assert all(find_space(name).name == name for name in SPACES)


def test_an_unknown_name_is_refused_with_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match=r"unknown space 'acgn'; known: .*acgan.*; did you mean 'acgan'\?"):
        find_space("acgn")
    with pytest.raises(UsageError, match="unknown space ''"):
        find_space("")


def test_a_space_of_ones_own_comes_from_a_module(module) -> None:
    space = find_space(f"{module('own_space_1', OWN)}:MINE")
    assert (space.name, space.recipe["generator.width"]) == ("mine", 8)
    assert space.recipe["training.batch_size"] == 64  # completed


@pytest.mark.parametrize(
    ("attribute", "says"), [("OTHER", "has no attribute 'OTHER'"), ("NUMBER", "is a int; a search_spaces"), ("", "")]
)
def test_a_module_without_such_a_space_is_refused(module, attribute, says) -> None:
    with pytest.raises(UserError, match=f"own_space_2:{attribute}.*{says}"):
        find_space(f"{module('own_space_2', OWN)}:{attribute}")


@pytest.mark.parametrize("name", ["no_such_module:MINE", "no.such.module:MINE", ":MINE"])
def test_a_module_that_is_not_there_is_refused(name) -> None:
    with pytest.raises(UserError, match=f"cannot load space {name}: "):
        find_space(name)


@pytest.mark.parametrize("name", ["./own_space.py:MINE", ".own_space:MINE"])
def test_a_path_in_place_of_a_module_is_refused(name) -> None:
    with pytest.raises(UserError, match="cannot load space"):
        find_space(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own_broken_1", "def broken(:\n"),
        ("own_broken_2", "import no_such_module_at_all\n"),
        ("own_broken_3", "raise RuntimeError('not today')\n"),
        ("own_broken_4", OWN.replace("choices=(8, 16)", "chioces=(8, 16)")),
    ],
    ids=["syntax", "import", "raises", "argument"],
)
def test_a_module_that_cannot_be_imported_is_refused(module, name, text) -> None:
    with pytest.raises(UserError, match=f"cannot load space {name}:MINE: "):
        find_space(f"{module(name, text)}:MINE")


def test_a_wrong_parameter_in_ones_own_space_is_named(module) -> None:
    name = module("own_space_3", OWN.replace("generator.width", "generator.widht"))
    with pytest.raises(UsageError, match=r"unknown parameter 'generator\.widht'; did you mean 'generator\.width'"):
        find_space(f"{name}:MINE")


def test_a_file_in_the_working_directory_is_loaded_without_joining_the_import_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_own_space.py").write_text("from search_spaces.acgan import ACGAN as MINE\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    assert find_space("my_own_space:MINE") is find_space("acgan")
    assert str(tmp_path) not in sys.path
