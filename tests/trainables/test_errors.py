"""What one line says of an error of many."""

from __future__ import annotations

import pytest
import torch

from trainables.errors import first_line


def refusal(network: torch.nn.Module, state: dict[str, torch.Tensor]) -> str:
    with pytest.raises(RuntimeError) as refused:
        network.load_state_dict(state)
    return first_line(refused.value)


def test_the_first_line_is_the_reason() -> None:
    assert first_line(ValueError("no such thing\nbecause")) == "no such thing"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("nothing follows:")) == "nothing follows:"


def test_the_reason_of_a_database_is_its_own() -> None:
    flush = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if ...)"
    assert first_line(ValueError(f"{flush}\n(sqlite3.OperationalError) database or disk is full\n[SQL: x]")) == (
        "(sqlite3.OperationalError) database or disk is full"
    )
    assert first_line(ValueError(flush)) == "ValueError"


def test_weights_that_do_not_fit_name_the_first_key() -> None:
    network, start = torch.nn.Linear(2, 3), "Error(s) in loading state_dict for Linear:"
    assert refusal(network, {}) == f'{start} Missing key(s) in state_dict: "weight" and others'
    assert refusal(network, {"weight": torch.ones(3, 2)}) == f'{start} Missing key(s) in state_dict: "bias".'
    mismatch = refusal(network, {"weight": torch.ones(3, 2), "bias": torch.ones(4)})
    assert mismatch.startswith(f"{start} size mismatch for bias: copying a param with shape torch.Size([4]) from")
    unknown = refusal(network, {**network.state_dict(), "x" * 5000: torch.ones(1)})
    assert unknown.startswith(f'{start} Unexpected key(s) in state_dict: "xxx')
    assert len(unknown) < 300
    assert "\n" not in unknown
