"""An S3 server for the tests that store something; data, numbers and a clock for those of trials that are fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

from tests.support.servers.cloud import BUCKET, point_to
from tests.support.tiny import cheap_context, evaluations
from trainables.fused import fused_loop
from trainables.training.loop import TrainingLoop
from trainables.trial.trial_clock import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainables.trial.context import TrialContext


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of an S3 server with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="who", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the server, which the environment points to."""
    point_to(monkeypatch, s3_server)
    return s3_server


@pytest.fixture
def float64() -> Iterator[None]:
    """So that what differs beyond rounding shows."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    """Two intervals of 1 kimg, scored by features that cost no time."""
    with cheap_context(tmp_path_factory.mktemp("cache"), evaluations(2)) as made:
        yield made


@pytest.fixture
def training_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that training alone moves, by 10 s for each update of a program."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(Stopwatch.__init__, "__defaults__", (lambda: now[0],))
    for owner, name in ((fused_loop.BatchedNetworks, "update"), (TrainingLoop, "_update")):
        ordinary = getattr(owner, name)

        def timed(*given: object, ordinary: Callable[..., None] = ordinary) -> None:
            now[0] += 10.0
            ordinary(*given)

        monkeypatch.setattr(owner, name, timed)
    return now
