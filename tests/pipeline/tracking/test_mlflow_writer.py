"""Operations carried out on a real MLflow database, by processes that die at every step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from sqlalchemy.exc import OperationalError

from pipeline.home import Home
from pipeline.tracking.client import open_client
from pipeline.tracking.mlflow_writer import MlflowWriter, is_permanent
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.outbox_worker import OutboxWorker
from trainables.errors import UserError
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

KEY = "s-00000"
DATA = {"name": "faces", "fingerprint": "ab12", "pictures": 9, "complete": 7, "partial": 2}
START = {
    "do": "start", "key": KEY, "time": 1000, "name": "00000 recipe", "tags": {"gansweep.status": "running"},
    "params": {f"p{number:03d}": "1" for number in range(150)}, "config": {"a": 1}, "data": DATA,
}  # fmt: skip
OPERATIONS: list[dict[str, Any]] = [
    START,
    {"do": "metrics", "key": KEY, "time": 2000, "step": 10, "values": {"kimg": 10.0, "distance": 5.5}},
    {"do": "picture", "key": KEY, "time": 2000, "name": f"{KEY}/samples/a.png"},
    {"do": "end", "key": KEY, "time": 3000, "status": "KILLED", "tags": {"gansweep.status": "interrupted"}},
    {"do": "go on", "key": KEY, "time": 4000},
    {"do": "metrics", "key": KEY, "time": 5000, "step": 20, "values": {"kimg": 20.0, "distance": 5.5}},
    {"do": "end", "key": KEY, "time": 6000, "status": "FINISHED", "tags": {"gansweep.status": "complete"}},
    {"do": "end", "key": None, "time": 7000, "status": "FINISHED", "tags": {"gansweep.status": "complete"}},
]


class Crash(BaseException):
    """The process ends here."""


class Mortal:
    """A client whose process dies once before and once after each different call."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.died: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            what = f"{name} {given} {options}" if name != "log_artifact" else name
            self.die(f"before {what}")
            answer = getattr(self.client, name)(*given, **options)
            self.die(f"after {what}")
            return answer

        return call

    def die(self, when: str) -> None:
        if when not in self.died:
            self.died.append(when)
            raise Crash


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home.find(tmp_path_factory.mktemp("written"))
    open_client(made, None)
    return made


@pytest.fixture
def client(home: Home) -> MlflowClient:
    return open_client(home, None)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    (tmp_path / KEY / "samples").mkdir(parents=True)
    (tmp_path / KEY / "samples" / "a.png").write_bytes(b"picture")
    return Storage(str(tmp_path), in_place=True)


@pytest.fixture
def place(client: MlflowClient, home: Home, request: pytest.FixtureRequest) -> tuple[str, str]:
    """An experiment and its parent run."""
    name = str(abs(hash(request.node.name)))
    experiment = client.create_experiment(name, (home.root / name).as_uri())
    return experiment, client.create_run(experiment, tags={"gansweep.kind": "sweep"}).info.run_id


def test_processes_that_die_at_every_step_leave_what_one_that_lives_leaves(
    client: MlflowClient, place: tuple[str, str], storage: Storage, tmp_path: Path
) -> None:
    spool = Outbox(tmp_path / "spool")
    for operation in OPERATIONS:
        spool.append(operation)
    mortal, processes = Mortal(client), 0
    while True:
        processes += 1
        one = Outbox(tmp_path / "spool")
        mark = one.mark

        def dying(one: Outbox = one, mark: Any = mark) -> None:
            mortal.die(f"before the mark of {one.first()}")
            mark()

        one.mark = dying  # type: ignore[method-assign, assignment]
        try:
            OutboxWorker(one, MlflowWriter(mortal, *place, storage), is_permanent, "x", print).flush()  # type: ignore[arg-type]
            break
        except Crash:
            pass
    assert processes == 1 + len(mortal.died) > 2 * len(OPERATIONS)
    one.close()
    assert not (tmp_path / "spool").exists()
    require_all_there_once(client, place)


def test_together_they_leave_the_same_in_fewer_requests_wherever_processes_die(
    client: MlflowClient, place: tuple[str, str], storage: Storage
) -> None:
    mortal, processes = Mortal(client), 0
    while True:
        processes += 1
        try:
            MlflowWriter(mortal, *place, storage).write_batch(OPERATIONS)  # type: ignore[arg-type]
            break
        except Crash:
            pass
    assert processes == 1 + len(mortal.died)
    require_all_there_once(client, place)
    called = [what.split()[1] for what in mortal.died if what.startswith("before")]
    # The parameters, the first result and the first end are one; the second and its end another; then the parent's.
    assert called.count("log_batch") == 3


def test_a_writer_that_knows_all_runs_searches_only_after_a_failure(
    client: MlflowClient, place: tuple[str, str], storage: Storage
) -> None:
    class Counting:
        searches, lose = 0, True

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def search_runs(self, *given: Any, **options: Any) -> Any:
            self.searches += 1
            return client.search_runs(*given, **options)

        def create_run(self, *given: Any, **options: Any) -> Any:
            made = client.create_run(*given, **options)
            if self.lose:
                raise OSError("the answer is lost")
            return made

    counting = Counting()
    writer = MlflowWriter(counting, *place, storage)  # type: ignore[arg-type]
    writer.know({})
    with pytest.raises(OSError, match="lost"):
        writer(START)
    assert counting.searches == 0
    counting.lose = False
    writer(START)  # finds the run of the first attempt
    assert counting.searches == 1
    writer({**START, "key": "s-00001"})
    assert counting.searches == 1
    assert len(client.search_runs([place[0]])) == 3


def require_all_there_once(client: MlflowClient, place: tuple[str, str]) -> None:
    runs = client.search_runs([place[0]])
    (run,) = (run for run in runs if run.info.run_id != place[1])
    assert len(runs) == 2
    assert run.data.params == START["params"]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", 1000, 6000)
    tags = {"gansweep.status": "complete", "gansweep.key": KEY, "mlflow.parentRunId": place[1]}
    assert {name: run.data.tags[name] for name in tags} == tags
    for name, values in (("kimg", [10.0, 20.0]), ("distance", [5.5, 5.5])):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(p.step, p.timestamp, p.value) for p in history] == [(10, 2000, values[0]), (20, 5000, values[1])]
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["config.json", "samples"]
    assert [entry.path for entry in client.list_artifacts(run.info.run_id, "samples")] == ["samples/a.png"]
    assert len(run.inputs.dataset_inputs) == 1
    parent = client.get_run(place[1])
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", 7000)


def test_permanently_refused_operations_do_not_block_the_others(
    client: MlflowClient, place: tuple[str, str], storage: Storage, tmp_path: Path
) -> None:
    spool = Outbox(tmp_path / "spool")
    bad = [
        {"do": "metrics", "key": KEY, "time": 2000, "step": 5, "values": {"not [allowed]": 1.0}},
        {"do": "picture", "key": KEY, "time": 2000, "name": f"{KEY}/samples/gone.png"},
        {"do": "metrics", "key": "s-00001", "time": 2000, "step": 5, "values": {"kimg": 1.0}},
        {"do": "dance", "key": KEY, "time": 2000},
        {"do": "metrics", "key": KEY, "time": 2000},
    ]
    for operation in (START, *bad, *OPERATIONS[1:]):
        spool.append(operation)
    said: list[str] = []
    sender = OutboxWorker(spool, MlflowWriter(client, *place, storage), is_permanent, "x", said.append)
    sender.flush()
    assert sender.refused == len(bad)
    kept = [json.loads(line) for line in (tmp_path / "spool" / "refused.jsonl").read_text().splitlines()]
    assert [{name: value for name, value in line.items() if name != "reason"} for line in kept] == bad
    signs = ("not [allowed]", "there is no s-00000/samples/gone.png", "trial s-00001 has no run", "dance", "values")
    assert all(sign in line["reason"] for sign, line in zip(signs, kept, strict=True))
    assert not any("\n" in line for line in said)
    require_all_there_once(client, place)


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("said no", response=response)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MlflowException("no", INVALID_PARAMETER_VALUE), True),
        (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), True),
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}), True),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "log in"}), False),
        (RestException({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slowly"}), False),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "wait"}), False),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "oops"}), False),
        (RestException({"error_code": "BAD_REQUEST", "message": "(psycopg2.InterfaceError) connection closed"}), False),
        (RestException({"error_code": "BAD_REQUEST", "message": "value too long"}), True),
        (MlflowException("API request to http://x failed with exception refused"), False),
        (OperationalError("insert", {}, Exception("database is locked")), False),
        *((answered(status), True) for status in (400, 404, 409, 413)),
        *((answered(status), False) for status in (401, 403, 408, 429, 499, 500, 502, 503, 504)),
        (requests.ConnectionError("refused"), False),
        (requests.exceptions.JSONDecodeError("a proxy's page", "", 0), False),
        (OSError(28, "No space left on device"), False),
        (UserError("there is no image"), True),
        (KeyError("step"), True),
        (TypeError("nonsense"), True),
    ],
)
def test_which_errors_pass(error: Exception, expected: bool) -> None:
    assert is_permanent(error) is expected
