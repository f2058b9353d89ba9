"""Tag losses against hand arithmetic; masked tags weigh nothing."""

import math

import pytest
import torch

from trainables.data.tags import UNKNOWN
from trainables.losses.tags import tag_cross_entropy

HAIR = [[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0], [5.0, -1.0, 2.0]]
EYES = [[0.0, 0.0], [0.0, math.log(3.0)], [1.0, 4.0]]


def logits() -> list[torch.Tensor]:
    return [torch.tensor(HAIR, requires_grad=True), torch.tensor(EYES, requires_grad=True)]


def test_groups_add_up_and_pictures_average() -> None:
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
