"""What panels show, by hand, apart from drawing it."""

import numpy as np
import pytest

from tests.support.tiny import PAIR, painted_images, random_labels
from trainables.data.tags import TagGroup, Vocabulary
from trainables.errors import UsageError
from trainables.visuals.panels import COLUMNS, NOISES, make_panel, panel_names
from trainables.visuals.sample_sheet import draw_sheet

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


def test_groups_called_as_other_panels_have_panels_of_their_own() -> None:
    groups = [TagGroup(name, ("red", "blue")) for name in ("noise", "grid", "confusion", "translation", "hat")]
    vocabulary, labels = Vocabulary(tuple(groups)), np.zeros((4, 5), np.int64)
    names = panel_names(vocabulary)
    assert names == ("noise", "tag=noise", "tag=grid", "tag=confusion", "tag=translation", "hat", "grid")
    assert make_panel("noise", vocabulary, labels).labels.tolist() == [[0] * 5] * 8
    for place, name in enumerate(names[1:6]):
        column = make_panel(name, vocabulary, labels).labels
        assert column[:, place].tolist() == [0, 1] * NOISES
        assert np.delete(column, place, axis=1).max() == 0
    assert make_panel("grid", vocabulary, labels).labels[:, :2].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_without_tags_the_sample_grid_is_64_different_noises() -> None:
    assert panel_names(PAIR, conditional=False) == ("noise",)
    panel = make_panel("noise", PAIR, LABELS, conditional=False)
    assert (panel.columns, panel.rows) == (8, ())
    assert panel.noises.tolist() == list(range(64))
    assert panel.labels.shape == (64, 2)


def test_the_sheet_of_an_unconditional_generator_repeats_no_image() -> None:
    images = painted_images(random_labels(8))
    sheet = draw_sheet(
        "noise", images, lambda noise, tags: noise[:, :1, None, None].tanh().expand(-1, 3, 16, 16),
        noise_dim=4, seed=0, device="cpu", conditional=False,
    )  # fmt: skip
    pixels = np.asarray(sheet)
    levels = [pixels[66 * row + 32, 66 * column + 32, 0] for row in range(8) for column in range(8)]
    assert (sheet.width, sheet.height) == (8 * 66, 8 * 66)
    # 64 different noises on 256 grey levels: some are equal, eight alone would be a repeated row.
    assert len(set(levels)) > 40


@pytest.mark.parametrize("names", [("both",), ("hat", "both"), ("hair", "macro_hair")])
def test_groups_that_would_be_mistaken_for_scores_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"{names[-1]}.*tag_accuracy_{names[-1]}"):
        Vocabulary(tuple(TagGroup(name, ("a", "b")) for name in names))
    assert Vocabulary((TagGroup("macro_hair", ("a", "b")),)).names == ("macro_hair",)
