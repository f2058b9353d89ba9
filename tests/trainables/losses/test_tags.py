"""Tag losses against hand arithmetic; masked tags weigh nothing."""

import math

import pytest
import torch

from trainables.data.tags import UNKNOWN
from trainables.losses.tags import multilabel_bce, tag_cross_entropy, wrong_tags

HAIR = [[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0], [5.0, -1.0, 2.0]]
EYES = [[0.0, 0.0], [0.0, math.log(3.0)], [1.0, 4.0]]


def logits() -> list[torch.Tensor]:
    return [torch.tensor(HAIR, requires_grad=True), torch.tensor(EYES, requires_grad=True)]


def test_groups_add_up_and_images_average() -> None:
    loss = tag_cross_entropy([group[:2] for group in logits()], torch.tensor([[2, 1], [0, 0]]))
    # softmax: hair 1/3 and 2/4, eyes 1/2 and 1/4
    hair = (math.log(3) + math.log(2)) / 2
    eyes = (math.log(2) + math.log(4)) / 2
    assert loss.item() == pytest.approx(hair + eyes, abs=1e-6)


def test_a_masked_tag_leaves_the_mean_to_the_others() -> None:
    loss = tag_cross_entropy(logits(), torch.tensor([[2, 1], [0, UNKNOWN], [UNKNOWN, UNKNOWN]]))
    assert loss.item() == pytest.approx((math.log(3) + math.log(2)) / 2 + math.log(2), abs=1e-6)


def test_masked_rows_get_exactly_no_gradient_and_others_softmax_minus_target() -> None:
    hair, eyes = logits()
    tag_cross_entropy([hair, eyes], torch.tensor([[2, 1], [0, UNKNOWN], [UNKNOWN, 0]])).backward()
    assert hair.grad[2].tolist() == [0.0, 0.0, 0.0]
    assert eyes.grad[1].tolist() == [0.0, 0.0]
    assert hair.grad[0].tolist() == pytest.approx([1 / 6, 1 / 6, -2 / 6], abs=1e-6)
    assert hair.grad[1].tolist() == pytest.approx([-1 / 4, 1 / 8, 1 / 8], abs=1e-6)
    assert eyes.grad[0].tolist() == pytest.approx([1 / 4, -1 / 4], abs=1e-6)


def test_an_all_masked_batch_weighs_nothing() -> None:
    hair, eyes = logits()
    loss = tag_cross_entropy([hair, eyes], torch.full((3, 2), UNKNOWN))
    loss.backward()
    assert loss.item() == 0.0
    assert hair.grad.eq(0).all()
    assert eyes.grad.eq(0).all()


def test_half_precision_logits_are_summed_in_float32() -> None:
    loss = tag_cross_entropy([torch.zeros(1000, 3).bfloat16()], torch.zeros(1000, 1, dtype=torch.long))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(3), abs=1e-5)


def test_multilabel_is_a_yes_or_no_for_each_class() -> None:
    hair = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    eyes = torch.tensor([[0.0, 0.0, math.log(7.0)], [0.0, 0.0, 0.0]])
    loss = multilabel_bce([hair, eyes], torch.tensor([[1, 2], [1, 0]]))
    # Probabilities: hair 1/2 3/4 and 3/4 1/2, eyes 1/2 1/2 7/8 and 1/2 each; classes add up, images average.
    first_hair, second_hair = math.log(2) + math.log(4 / 3), math.log(4) + math.log(2)
    first_eyes, second_eyes = 2 * math.log(2) + math.log(8 / 7), 3 * math.log(2)
    assert loss.item() == pytest.approx((first_hair + second_hair) / 2 + (first_eyes + second_eyes) / 2, abs=1e-6)


def test_masked_rows_of_the_multilabel_loss_weigh_exactly_nothing() -> None:
    hair, eyes = logits()
    labels = torch.tensor([[2, 1], [0, UNKNOWN], [UNKNOWN, 0]])
    loss = multilabel_bce([hair, eyes], labels)
    alone = multilabel_bce([hair[:2]], labels[:2, :1]) + multilabel_bce([eyes[[0, 2]]], labels[[0, 2], 1:])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    loss.backward()
    assert hair.grad[2].tolist() == [0.0, 0.0, 0.0]
    assert eyes.grad[1].tolist() == [0.0, 0.0]
    # sigmoid minus yes over the two known rows
    assert hair.grad[0].tolist() == pytest.approx([0.25, 0.25, -0.25], abs=1e-6)
    assert eyes.grad[0].tolist() == pytest.approx([0.25, -0.25], abs=1e-6)


def test_an_all_masked_multilabel_batch_weighs_nothing() -> None:
    hair, eyes = logits()
    loss = multilabel_bce([hair, eyes], torch.full((3, 2), UNKNOWN))
    loss.backward()
    assert loss.item() == 0.0
    assert hair.grad.eq(0).all()
    assert eyes.grad.eq(0).all()


@pytest.mark.parametrize("how", ["data", "balanced"])
def test_wrong_tags_are_never_the_right_ones(how) -> None:
    torch.manual_seed(0)
    pool = torch.tensor([[1, 0], [1, 0], [2, 1]])
    labels = pool[torch.randint(3, (5000,))]
    wrong = wrong_tags(labels, pool, (3, 2), how)
    assert wrong.shape == labels.shape
    assert not (wrong == labels).all(dim=1).any()
    assert wrong.min() >= 0
    assert (wrong < torch.tensor([3, 2])).all()


def shares(rows: torch.Tensor) -> dict[tuple[int, ...], float]:
    found, counts = rows.unique(dim=0, return_counts=True)
    return {tuple(row): count / len(rows) for row, count in zip(found.tolist(), counts.tolist(), strict=True)}


def test_balanced_wrong_tags_are_uniform_over_the_classes() -> None:
    torch.manual_seed(0)
    pool = torch.tensor([[0, 0]])
    found = shares(wrong_tags(torch.tensor([[0, 0]]).expand(12_000, 2), pool, (3, 2), "balanced"))
    # A sixth each; the draws of the right tags (0, 0) have moved on to (1, 0). One standard error is 0.0034.
    expected = {(0, 1): 1 / 6, (1, 0): 2 / 6, (1, 1): 1 / 6, (2, 0): 1 / 6, (2, 1): 1 / 6}
    assert found == pytest.approx(expected, abs=0.014)


def test_wrong_tags_from_the_data_are_as_frequent_as_there() -> None:
    torch.manual_seed(0)
    pool = torch.tensor([[1, 0]] * 6 + [[2, 1]] * 3 + [[0, 1]])
    found = shares(wrong_tags(torch.tensor([[0, 1]]).expand(12_000, 2), pool, (3, 2), "data"))
    # (0, 1), a tenth, is right and has moved on to (1, 1); what the pool lacks is not drawn.
    assert found == pytest.approx({(1, 0): 0.6, (2, 1): 0.3, (1, 1): 0.1}, abs=0.018)


@pytest.mark.parametrize("how", ["data", "balanced"])
def test_a_image_without_tags_can_be_given_any(how) -> None:
    torch.manual_seed(0)
    wrong = wrong_tags(torch.full((500, 2), UNKNOWN), torch.tensor([[2, 1], [0, 0]]), (3, 2), how)
    assert wrong.min() >= 0
    assert len(shares(wrong)) == (2 if how == "data" else 6)
