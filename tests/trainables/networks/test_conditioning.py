"""How tags enter a network."""

import numpy as np
import pytest
import torch

from trainables.data.tags import REPORT_PAIRS, UNKNOWN, combinations
from trainables.networks.conditioning import CodeInput, TagEmbedding, TagEncoder


def test_one_hot_places_groups_side_by_side() -> None:
    codes = TagEncoder("one_hot", (3, 2))(torch.tensor([[2, 0], [0, 1]]))
    assert codes.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
    assert codes.dtype == torch.float32


def test_an_unknown_tag_is_all_zeros_in_its_own_group_only() -> None:
    codes = TagEncoder("one_hot", (3, 2))(torch.tensor([[UNKNOWN, 1], [1, UNKNOWN], [UNKNOWN, UNKNOWN]]))
    assert codes.tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_an_impossible_tag_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        TagEncoder("one_hot", (3, 2))(torch.tensor([[3, 0]]))


def embedding(noise: float) -> TagEmbedding:
    tags = TagEmbedding((2, 3), 2, noise)
    with torch.no_grad():
        tags.tables[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tags.tables[1].weight.copy_(torch.tensor([[5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]))
    return tags


def test_embeddings_are_looked_up_by_group_and_concatenated() -> None:
    tags = embedding(noise=0.5).eval()
    assert tags.width == 4
    assert tags(torch.tensor([[0, 2], [1, 0]])).tolist() == [[1, 2, 9, 10], [3, 4, 5, 6]]


@pytest.mark.parametrize("noise", [0.05, 0.1])
def test_noise_of_the_given_deviation_in_training_only(noise) -> None:
    torch.manual_seed(0)
    tags, labels = embedding(noise), torch.zeros(5000, 2, dtype=torch.long)
    clean = torch.tensor([1.0, 2.0, 5.0, 6.0])
    added = tags.train()(labels) - clean
    # 20,000 draws: one standard error of the deviation is 0.5 percent, of the mean 0.7 percent of it.
    assert added.std().item() == pytest.approx(noise, rel=0.02)
    assert abs(added.mean().item()) < 0.03 * noise
    assert added.std(dim=0).min() > 0.9 * noise  # every place has its own
    assert torch.equal(tags.eval()(labels), clean.expand(5000, 4))


def test_noise_is_fresh_on_each_forward() -> None:
    tags, labels = embedding(0.1), torch.zeros(1, 2, dtype=torch.long)
    assert not torch.equal(tags(labels), tags(labels))


def test_no_noise_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    assert embedding(0.0).train()(torch.tensor([[0, 0]])).tolist() == [[1, 2, 5, 6]]
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    embedding(0.0)  # building the tables draws; looking up must not
    assert torch.equal(torch.get_rng_state(), after)


REPORT = (12, 11)
KNOWN, NO_EYES, NOTHING = [2, 3], [2, UNKNOWN], [UNKNOWN, UNKNOWN]


def ones(encoding: str, *labels: list[int]) -> list[list[int]]:
    """Places of the ones in each row's code."""
    codes = TagEncoder(encoding, REPORT)(torch.tensor(labels))
    assert codes.unique().tolist() in ([0, 1], [0])
    return [row.nonzero().flatten().tolist() for row in codes]


def test_23_places_leave_an_unknown_tag_out() -> None:
    assert TagEncoder("one_hot", REPORT).width == 23
    assert ones("one_hot", KNOWN, NO_EYES, NOTHING) == [[2, 12 + 3], [2], []]


def test_cs_24th_place_is_for_any_unknown_tag() -> None:
    assert TagEncoder("one_hot_unknown", REPORT).width == 24
    assert ones("one_hot_unknown", KNOWN, NO_EYES, NOTHING) == [[2, 15], [2, 23], [23]]


def test_ds_25_places_have_a_none_for_each_kind() -> None:
    assert TagEncoder("one_hot_none", REPORT).width == 25
    # hair 0 to 11, no hair 12, eyes 13 to 23, no eyes 24
    assert ones("one_hot_none", KNOWN, NO_EYES, [UNKNOWN, 3], NOTHING) == [[2, 16], [2, 24], [12, 16], [12, 24]]


def test_fs_119_places_are_those_of_the_table_in_its_order() -> None:
    encoder = TagEncoder("pairs", REPORT, REPORT_PAIRS)
    assert encoder.width == len(REPORT_PAIRS) == 119
    assert torch.equal(encoder(torch.tensor(REPORT_PAIRS)), torch.eye(119))
    assert encoder(torch.tensor([[0, 0], [6, 1], [2, UNKNOWN], [UNKNOWN, 2]])).eq(0).all()


def test_pairs_are_numbered_by_first_appearance() -> None:
    labels = np.array([[2, 1], [0, 1], [2, 1], [0, 0], [0, 1]])
    pairs = combinations(labels)
    assert pairs == ((2, 1), (0, 1), (0, 0))
    assert all(type(label) is int for pair in pairs for label in pair)  # they are written to JSON
    codes = TagEncoder("pairs", (3, 2), pairs)(torch.from_numpy(labels))
    assert codes.argmax(dim=1).tolist() == [0, 1, 0, 2, 1]
    assert codes.sum(dim=1).tolist() == [1] * 5


def test_pairs_reach_a_generator_through_a_learnt_square_layer_and_others_as_they_are() -> None:
    labels = torch.tensor([[2, 1], [0, 1]])
    pairs = CodeInput(TagEncoder("pairs", (3, 2), ((2, 1), (0, 1))))
    square = pairs.mix[0]
    expected = (square.weight.T + square.bias).clamp_min(0)  # one-hot codes pick rows
    assert torch.allclose(pairs(labels), expected)
    assert CodeInput(TagEncoder("one_hot", (3, 2)))(labels).tolist() == [[0, 0, 1, 0, 1], [1, 0, 0, 0, 1]]
