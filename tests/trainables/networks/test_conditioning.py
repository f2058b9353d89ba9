"""How tags enter a network."""

import pytest
import torch

from trainables.data.tags import UNKNOWN
from trainables.networks.conditioning import TagEmbedding, one_hot


def test_one_hot_places_groups_side_by_side() -> None:
    codes = one_hot(torch.tensor([[2, 0], [0, 1]]), (3, 2))
    assert codes.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
    assert codes.dtype == torch.float32


def test_an_unknown_tag_is_all_zeros_in_its_own_group_only() -> None:
    codes = one_hot(torch.tensor([[UNKNOWN, 1], [1, UNKNOWN], [UNKNOWN, UNKNOWN]]), (3, 2))
    assert codes.tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_an_impossible_tag_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        one_hot(torch.tensor([[3, 0]]), (3, 2))


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
