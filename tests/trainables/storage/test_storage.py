"""Storage: local folders and an S3 server on loopback; errors that pass and errors that last."""

from __future__ import annotations

import errno
import http.server
import os
import pickle
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pyarrow import fs

from tests.support.servers.cloud import BUCKET, Faulty, point_to
from trainables.errors import UsageError, UserError
from trainables.storage.storage import ATTEMPTS, BACKOFF, Storage, storage_location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def no_wait(seconds: float) -> None:
    """Tests do not wait."""


KINDS = ("in place", "local", "s3")


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind, which does not wait."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return Storage(f"s3://{BUCKET}/{tmp_path.name}", sleep=no_wait)
    return Storage(str(tmp_path / "there"), in_place=request.param == "in place", sleep=no_wait)


def stored(storage: Storage, url: str | None = None) -> dict[str, bytes]:
    """What is there, read without the class under test."""
    if not storage.location.startswith("s3://"):
        root = Path(storage.location)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    bucket, _, prefix = storage.location.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=url or os.environ["AWS_ENDPOINT_URL"])
    found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return {
        entry["Key"][len(prefix) + 1 :]: client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        for entry in found
        if not entry["Key"].endswith("/")
    }


def write(storage: Storage, name: str, content: bytes) -> None:
    with storage.writing(name) as path:
        path.write_bytes(content)


def test_files_are_put_listed_got_and_deleted(storage: Storage, tmp_path: Path) -> None:
    assert storage.list() == {}
    assert not storage.exists("a/b.txt")
    contents = {"a/b.txt": b"first", "a/c/d.bin": bytes(range(256)) * 30_000, "e": b""}
    for name, content in contents.items():
        (tmp_path / "source").write_bytes(content)
        storage.put(tmp_path / "source", name)
    assert stored(storage) == contents
    assert storage.list() == {name: len(content) for name, content in contents.items()}
    assert storage.list("a") == {"a/b.txt": 5, "a/c/d.bin": 256 * 30_000}
    assert storage.list("nowhere") == {}
    assert storage.exists("e")
    assert not storage.exists("a")  # a folder is no file
    storage.get("a/c/d.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == contents["a/c/d.bin"]
    storage.delete("e")
    storage.delete("e")  # gone already
    assert set(stored(storage)) == {"a/b.txt", "a/c/d.bin"}
    storage.delete_folder("a/c")
    storage.delete_folder("a/c")
    assert stored(storage) == {"a/b.txt": b"first"}


def test_what_is_put_again_replaces_what_was_there(storage: Storage) -> None:
    write(storage, "a/b", b"old and longer")
    write(storage, "a/b", b"new")
    assert stored(storage) == {"a/b": b"new"}
    assert storage.read("a/b") == b"new"


def test_a_folder_is_a_storage_of_its_own(storage: Storage) -> None:
    write(storage.below("x").below("y"), "z", b"1")
    assert stored(storage) == {"x/y/z": b"1"}
    assert storage.below("x").list() == {"y/z": 1}


def test_a_fetched_file_has_its_name_and_content(storage: Storage) -> None:
    write(storage, "samples/grid.png", b"picture")
    with storage.fetched("samples/grid.png") as path:
        assert (path.name, path.read_bytes()) == ("grid.png", b"picture")
    assert path.exists() == (not storage.location.startswith("s3://"))
    with pytest.raises(UserError, match=r"none\.png"), storage.fetched("none.png"):
        pass


def test_a_block_that_fails_stores_nothing_and_leaves_nothing(storage: Storage) -> None:
    write(storage, "kept", b"before")

    def dies() -> None:
        with storage.writing("kept") as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dies()
    assert stored(storage) == {"kept": b"before"}


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_names_stay_inside(storage: Storage, name: str) -> None:
    with pytest.raises(UserError, match="lies outside"):
        storage.exists(name)
    with pytest.raises(UserError, match="lies outside"):
        storage.below(name)


def test_another_process_gets_no_connection_and_no_secret(storage: Storage) -> None:
    write(storage, "a", b"1")
    content = pickle.dumps(storage.below("x"))
    assert b"secret" not in content
    assert b"pyarrow" not in content
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"  # noqa: S301


def test_a_node_without_an_endpoint_uses_the_drivers(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(f"s3://{BUCKET}/travels")
    write(storage, "a", b"1")
    travelled = pickle.dumps(storage)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert pickle.loads(travelled).read("a") == b"1"  # noqa: S301
    point_to(monkeypatch, "http://127.0.0.1:9")  # its own wins
    with pytest.raises(UserError, match="NETWORK_CONNECTION"):
        replace(pickle.loads(travelled), attempts=1).read("a")  # noqa: S301


@pytest.mark.parametrize("kind", ["in place", "local"])
def test_what_a_killed_process_left_is_not_listed_and_goes(tmp_path: Path, kind: str) -> None:
    storage = Storage(str(tmp_path), in_place=kind == "in place")
    write(storage, "whole", b"1")
    (tmp_path / ".partial-1").write_bytes(b"half")
    (tmp_path / ".partial-2").mkdir()
    (tmp_path / ".partial-2" / "file").write_bytes(b"half")
    assert storage.list() == {"whole": 1}
    storage.discard_partials()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/a/b=c/", "s3://my.bucket-1/a/b=c"),
        ("/folder/x", "/folder/x"),
        ("with space", "{cwd}/with space"),
        ("~/x", "{home}/x"),
    ],
)
def test_locations(text: str, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = location.format(cwd=tmp_path, home=Path.home())
    assert storage_location(text) == expected
    assert storage_location(expected) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "gs://b/x", "s3://", "s3://a", "s3://bucket/../x", "s3://bucket/a?b=c", "file:///x", "s3://b b/x"]
)
def test_other_locations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--storage is .*; expected a folder, or s3://bucket/prefix"):
        storage_location(text)


def test_a_refused_location_does_not_show_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        storage_location("s3://who:hidden@bucket/x")
    assert "hidden" not in str(caught.value)


PASSES = [
    OSError("When ...: AWS Error SLOW_DOWN during PutObject operation: hello"),
    OSError("When ...: AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7"),
    OSError("When ...: AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body."),
    OSError("When ...: AWS Error UNKNOWN (HTTP status 429) during HeadObject operation: No response body."),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.EIO, "Input/output error"),
]


def faulty(tmp_path: Path, faults: list[BaseException | None], waits: list[float]) -> Storage:
    return Storage(str(tmp_path), sleep=waits.append, filesystem=Faulty(fs.LocalFileSystem(), faults))


@pytest.mark.parametrize("fault", PASSES, ids=str)
def test_errors_that_pass_are_tried_again_with_growing_waits(tmp_path: Path, fault: OSError) -> None:
    waits: list[float] = []
    storage = faulty(tmp_path, [fault] * 5, waits)
    write(storage, "a", b"content")
    assert stored(storage) == {"a": b"content"}
    assert len(waits) == 5
    for attempt, wait in enumerate(waits):
        assert 2**attempt / 2 <= wait <= 2**attempt  # seconds, shortened at random by at most half


@pytest.mark.parametrize("operation", ["exists", "list", "read", "delete", "delete_folder"])
def test_every_operation_is_tried_again(s3: str, operation: str) -> None:
    filesystem = Faulty(fs.S3FileSystem(endpoint_override=s3))
    waits: list[float] = []
    storage = Storage(f"s3://{BUCKET}/again", sleep=waits.append, filesystem=filesystem)
    write(storage, "folder/file", b"1")
    filesystem.faults = [PASSES[0], PASSES[1]]
    name = "folder" if operation in ("list", "delete_folder") else "folder/file"
    expected = {"exists": True, "list": {"folder/file": 1}, "read": b"1"}.get(operation)
    assert getattr(storage, operation)(name) == expected
    assert len(waits) == 2


def test_an_error_that_does_not_pass_in_time_is_one_line(tmp_path: Path) -> None:
    waits: list[float] = []
    storage = faulty(tmp_path, [PASSES[0]] * 100, waits)
    with pytest.raises(UserError) as caught:
        write(storage, "a", b"1")
    assert str(caught.value) == f"cannot write a in {tmp_path}: AWS Error SLOW_DOWN during PutObject operation: hello"
    assert len(waits) == ATTEMPTS - 1
    assert max(waits) <= BACKOFF.longest
    assert sum(waits) >= 60  # outlasts an outage of a minute


LASTS = [
    (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
    (OSError(errno.EACCES, "Permission denied"), "permission denied"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is used up"),
    (OSError("AWS Error NO_SUCH_BUCKET during PutObject operation: (Request ID: 1)"), "there is no such bucket"),
    (OSError("AWS Error ACCESS_DENIED during PutObject operation: no"), "check AWS_ACCESS_KEY_ID"),
    (OSError("AWS Error UNKNOWN (HTTP status 400): Unable to parse ExceptionName: ExpiredToken"), "access denied"),
    (OSError("AWS Error UNKNOWN (HTTP status 507) during PutObject operation: full"), "no space left"),
    (OSError("AWS Error UNKNOWN (HTTP status 301) during PutObject operation: x"), "set AWS_DEFAULT_REGION"),
]


@pytest.mark.parametrize(("fault", "said"), LASTS, ids=[said for _, said in LASTS])
def test_errors_that_last_are_one_line_at_once(tmp_path: Path, fault: OSError, said: str) -> None:
    waits: list[float] = []
    with pytest.raises(UserError) as caught:
        write(faulty(tmp_path, [fault], waits), "a", b"1")
    assert str(caught.value).startswith(f"cannot write a in {tmp_path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not waits
    assert list(tmp_path.iterdir()) == []


def test_no_bucket_is_one_line(s3: str) -> None:
    waits: list[float] = []
    with pytest.raises(UserError, match=r"cannot write a in s3://nowhere/x: there is no such bucket; make it"):
        write(Storage("s3://nowhere/x", sleep=waits.append), "a", b"1")
    assert not waits


@pytest.fixture
def moody_server() -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """URL of a server that answers with the status and code at the head of a list, and accepts what comes after."""
    answers: list[tuple[int, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, code = answers.pop(0) if answers else (200, "")
            body = f"<Error><Code>{code}</Code><Message>hello</Message></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *given: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


@pytest.mark.real_processes
def test_a_server_that_is_down_for_a_while(
    moody_server: tuple[str, list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = moody_server
    point_to(monkeypatch, url)
    waits: list[float] = []
    answers += [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable"), (429, "TooManyRequests")]
    write(Storage("s3://bucket/x", sleep=waits.append), "a", b"1")
    assert not answers
    assert len(waits) == 4


@pytest.mark.real_processes
@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (400, "ExpiredToken")],
)
def test_refused_credentials_are_one_line_at_once(
    moody_server: tuple[str, list[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    url, answers = moody_server
    point_to(monkeypatch, url)
    waits: list[float] = []
    answers.append((status, code))
    with pytest.raises(UserError, match=r"cannot write a in s3://bucket/x: access denied; check AWS_ACCESS_KEY_ID"):
        write(Storage("s3://bucket/x", sleep=waits.append), "a", b"1")
    assert not waits


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system with the given options."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"mounted-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_full_disk_is_one_line_and_keeps_what_was_there(mount: Callable[[str], Path], in_place: bool) -> None:
    folder = mount("size=1m")
    storage = Storage(str(folder), in_place=in_place)
    write(storage, "a", b"before")
    with pytest.raises(UserError, match=r"cannot write .*: no space left; free some") as caught:
        write(storage, "a", bytes(2**21))
    assert "\n" not in str(caught.value)
    assert stored(storage) == {"a": b"before"}
    write(storage, "a", b"after")
    assert stored(storage) == {"a": b"after"}


@pytest.mark.parametrize("in_place", [True, False])
def test_a_read_only_disk_is_one_line(mount: Callable[[str], Path], in_place: bool) -> None:
    folder = mount("size=1m,ro")
    with pytest.raises(UserError, match=r"cannot write .*: the file system is read-only; give another --storage"):
        Storage(str(folder), in_place=in_place).probe()


def test_a_scratch_disk_that_is_full_is_named(
    mount: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = mount("size=1m")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with pytest.raises(UserError, match=rf"cannot write to {scratch}: no space left.*TMPDIR"):
        write(Storage(str(tmp_path / "there")), "a", bytes(2**21))


def test_a_probe_leaves_nothing(storage: Storage) -> None:
    storage.probe()
    assert stored(storage) == {}


class Forgetful(Faulty):
    """Accepts files and gives back others."""

    def open_input_stream(self, path: str) -> Any:
        import io

        return io.BytesIO(b"something else")


@pytest.mark.parametrize(
    ("operation", "said"),
    [("open_output_stream", "cannot write"), ("open_input_stream", "cannot read"), ("delete_file", "cannot delete")],
)
def test_a_probe_says_what_failed(s3: str, operation: str, said: str) -> None:
    class Fails(Faulty):
        def __getattr__(self, name: str) -> Any:
            if name == operation:
                self.faults = [LASTS[5][0]]
            return super().__getattr__(name)

    inner = fs.S3FileSystem(endpoint_override=s3)
    storage = Storage(f"s3://{BUCKET}/probed", filesystem=Fails(inner))
    with pytest.raises(UserError, match=rf"{said} probe-\w+ in s3://{BUCKET}/probed: access denied; check AWS_"):
        storage.probe()
    with pytest.raises(UserError, match=r"cannot read .*: it holds other bytes than were written"):
        replace(storage, filesystem=Forgetful(inner)).probe()


def test_a_probe_does_not_wait_long(tmp_path: Path) -> None:
    waits: list[float] = []
    with pytest.raises(UserError, match="cannot write"):
        faulty(tmp_path, [PASSES[0]] * 100, waits).probe()
    assert len(waits) == 1
