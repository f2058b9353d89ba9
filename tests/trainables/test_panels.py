"""What panels show, by hand, apart from drawing it."""

import numpy as np
import pytest

from tests.support.tiny import PAIR
from trainables.data.tags import TagGroup, Vocabulary
from trainables.errors import UsageError
from trainables.panels import COLUMNS, NOISES, make_panel, panel_names

# Blue (2) occurs five times, four of them with light (1) eyes; red (0) twice, dark (0); green (1) once.
LABELS = np.array([[0, 0], [2, 1], [2, 1], [1, 1], [2, 0], [2, 1], [2, 1], [0, 0]])
THREE = Vocabulary((*PAIR.groups, TagGroup("hat", ("none", "cap", "crown", "hood"))))


def test_noise_has_the_same_tags_along_a_row_and_another_noise_in_each_column() -> None:
    panel = make_panel("noise", PAIR, LABELS)
    assert panel.columns == COLUMNS == 8
    assert panel.labels.tolist() == [[2, 1]] * 8 + [[0, 0]] * 8 + [[1, 1]] * 8
    assert panel.noises.tolist() == list(range(8)) * 3
    assert panel.rows == ("blue hair light eyes", "red hair dark eyes", "green hair light eyes")


def test_a_groups_panel_varies_that_tag_alone_along_a_row() -> None:
    assert NOISES == 4
    panel = make_panel("hair", PAIR, LABELS)
    assert panel.columns == 3
    assert panel.labels.tolist() == [[0, 1], [1, 1], [2, 1]] * 4  # the commonest pair is blue and light
    assert panel.noises.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert panel.rows == ("noise 1", "noise 2", "noise 3", "noise 4")
    panel = make_panel("eyes", PAIR, LABELS)
    assert panel.columns == 2
    assert panel.labels.tolist() == [[2, 0], [2, 1]] * 4
    assert panel.noises.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_grid_has_one_noise_and_every_pair_once() -> None:
    panel = make_panel("grid", PAIR, LABELS)
    assert panel.columns == 2
    assert panel.labels.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert panel.noises.tolist() == [0] * 6
    assert panel.rows == ("red hair", "green hair", "blue hair")


def test_with_three_groups_the_third_stays_as_it_is_commonest() -> None:
    labels = np.column_stack([LABELS, [1, 3, 3, 0, 2, 3, 2, 1]])
    assert panel_names(THREE) == ("noise", "hair", "eyes", "hat", "grid")
    grid = make_panel("grid", THREE, labels)
    assert grid.labels.tolist() == [[hair, eyes, 3] for hair in range(3) for eyes in range(2)]
    hat = make_panel("hat", THREE, labels)
    assert hat.columns == 4
    assert hat.labels[:4].tolist() == [[2, 1, 0], [2, 1, 1], [2, 1, 2], [2, 1, 3]]
    assert make_panel("hair", THREE, labels).labels[:3].tolist() == [[0, 1, 3], [1, 1, 3], [2, 1, 3]]


def test_a_single_group_has_no_grid() -> None:
    alone = Vocabulary(PAIR.groups[:1])
    assert panel_names(alone) == ("noise", "hair")
    assert make_panel("hair", alone, LABELS[:, :1]).labels.tolist() == [[0], [1], [2]] * 4
    with pytest.raises(UsageError, match="unknown panel 'grid'; allowed: noise, hair"):
        make_panel("grid", alone, LABELS[:, :1])


@pytest.mark.parametrize(("name", "says"), [("hiar", "did you mean 'hair'"), ("", "allowed: noise, hair, eyes, grid")])
def test_an_unknown_panel_is_named_with_those_there_are(name, says) -> None:
    with pytest.raises(UsageError, match=f"unknown panel '{name}'; allowed: noise, hair, eyes, grid") as refusal:
        make_panel(name, PAIR, LABELS)
    assert says in str(refusal.value)
