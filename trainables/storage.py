"""Where trials keep their files: a folder of this machine, a network disk, or an S3 bucket."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import random
import re
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.errors import UsageError, UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between attempts double from the first to the longest: eight attempts outlast an outage of a minute."""
PARTIAL = ".partial-"
"""Names of what is being written; a process that dies leaves them behind."""
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
FULL = "no space left; free some, or give another --storage or --home"
BY_NUMBER = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "the disk quota is used up; free some space, or give another --storage or --home",
    errno.EROFS: "the file system is read-only; give another --storage or --home",
    errno.EACCES: "permission denied; give another --storage or --home, or change the folder's permissions",
    errno.EPERM: "permission denied; give another --storage or --home, or change the folder's permissions",
}
LASTING = {
    "NO_SUCH_BUCKET": "there is no such bucket; make it, or give another --storage",
    "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|ExpiredToken|InvalidToken": "access denied; check "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and what they may do in the bucket",
    "REQUEST_TIME_TOO_SKEWED": "the server refuses this machine's clock; set it",
    "HTTP status 301": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "HTTP status 507": FULL,
    r"HTTP status 4(?!08|29)\d\d": "the server refuses the request",
}
"""What servers say (pyarrow passes it on as text) to requests that will not succeed a second time either."""


def storage_location(text: str) -> str:
    """An absolute folder, or ``s3://bucket/prefix`` without a slash at its end.

    Raises:
        UsageError: neither of the two.
    """
    scheme, separator, rest = text.partition("://")
    if not separator and text.strip():
        return str(Path(text).expanduser().absolute())
    bucket, *folders = rest.strip("/").split("/")
    plain = all(re.fullmatch(r"[\w.=+-]+", part) and part not in (".", "..") for part in folders)
    if scheme != "s3" or not re.fullmatch(r"[A-Za-z0-9._-]{3,63}", bucket) or not plain:
        # Whatever stands before an @ may be a password.
        raise UsageError(f"--storage is {text.rpartition('@')[2]!r}; expected a folder, or s3://bucket/prefix")
    return f"s3://{'/'.join([bucket, *folders])}"


def _endpoint() -> str | None:
    return next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), None)


@dataclass(frozen=True)
class Storage:
    """Files below one place, by relative names; each appears whole or not at all.

    Errors that pass (a lost connection, a busy server) are tried again with growing waits; those that last, and
    those that do not pass in time, are a ``UserError`` of one line. S3 is found by the usual variables:
    ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``, ``AWS_ENDPOINT_URL``.
    """

    location: str
    """As ``storage_location`` gives it."""
    in_place: bool = False
    """Write files where they belong, rather than to a scratch folder of this machine and copy them."""
    attempts: int = ATTEMPTS
    sleep: Callable[[float], None] = time.sleep
    """Waits so many seconds."""
    endpoint: str | None = field(default_factory=_endpoint)
    """URL of the S3 server, where it is not Amazon's; travels to nodes that have none of their own."""
    filesystem: Any = field(default=None, compare=False, repr=False)
    """The pyarrow file system; default: that of the location."""

    def below(self, folder: str) -> Storage:
        """A folder of this storage as a storage of its own."""
        self._path(folder)
        return dataclasses.replace(self, location=f"{self.location}/{folder}", filesystem=self._files)

    def put(self, source: Path, name: str) -> None:
        """Store a local file under a name, in place of what was there; in place it is moved."""
        target = self._path(name)

        def move() -> None:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)

        self._attempt("write", name, move if self.in_place else lambda: self._upload(source, target))

    def get(self, name: str, target: Path) -> None:
        """Copy a stored file to a local path."""

        def download() -> None:
            with self._files.open_input_stream(self._path(name)) as stored, target.open("wb") as local:
                shutil.copyfileobj(stored, local, 2**20)

        self._attempt("read", name, download)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        info = self._attempt("look for", name, lambda: self._files.get_file_info(self._path(name)))
        return bool(info.is_file)

    def list(self, folder: str = "") -> dict[str, int]:
        """Names of all files below a folder, sorted, and their bytes; empty where there is no such folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        found = self._attempt("list", folder or "files", lambda: self._files.get_file_info(selector))
        start = len(self._path("")) + 1
        sizes = {info.path[start:]: info.size for info in found if info.is_file}
        return {name: sizes[name] for name in sorted(sizes) if PARTIAL not in name}

    def delete(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        self._attempt("delete", name, lambda: self._remove(self._files.delete_file, name))

    def delete_folder(self, name: str) -> None:
        """Remove a folder and all that is in it; it may be gone already."""
        self._attempt("delete", name, lambda: self._remove(self._files.delete_dir, name))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local folder for files that are to be ``put``; it is gone after the block, with what was left in it.

        Raises:
            UserError: the block could not write.
        """
        here = Path(self.location) if self.in_place else Path(tempfile.gettempdir())
        try:
            here.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=here, ignore_cleanup_errors=True) as folder:
                yield Path(folder)
        except OSError as error:
            elsewhere = "" if self.in_place else "; a larger TMPDIR helps"
            raise UserError(f"cannot write to {here}: {_reason(error)}{elsewhere}") from error

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a local path to write; once the block ends well, what it wrote is stored under the name."""
        with self.scratch() as folder:
            path = folder / PurePosixPath(name).name
            yield path
            self.put(path, name)

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """Give a local path, for reading, to a stored file: the file itself, or a copy that goes after the block.

        Raises:
            UserError: there is no such file.
        """
        if not self._remote:
            path = Path(self._path(name))
            if not path.is_file():
                raise UserError(f"there is no {name} in {self.location}")
            yield path
            return
        with tempfile.TemporaryDirectory(prefix=PARTIAL) as folder:
            path = Path(folder) / PurePosixPath(name).name
            self.get(name, path)
            yield path

    def read(self, name: str) -> bytes:
        """What is in a small file."""
        with self.fetched(name) as path:
            return path.read_bytes()

    def discard_partials(self) -> None:
        """Remove what processes that died in the middle of writing have left in this folder; S3 keeps no such."""
        if self._remote:
            return
        for path in Path(self.location).glob(f"{PARTIAL}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def probe(self) -> None:
        """Write, read back and delete a small file.

        Raises:
            UserError: which of these failed, and why.
        """
        hasty = dataclasses.replace(self, attempts=min(2, self.attempts), filesystem=self._files)
        name, content = f"probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
        with hasty.writing(name) as path:
            path.write_bytes(content)
        try:
            if hasty.read(name) != content:
                raise UserError(f"cannot read {name} in {self.location}: it holds other bytes than were written")
        except UserError:
            with contextlib.suppress(UserError):  # the first error is the one to report
                hasty.delete(name)
            raise
        hasty.delete(name)

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens a connection of its own, with its own node's credentials."""
        return {**{one.name: getattr(self, one.name) for one in dataclasses.fields(self)}, "filesystem": None}

    @property
    def _remote(self) -> bool:
        return self.location.startswith("s3://")

    @cached_property
    def _files(self) -> Any:
        if self.filesystem is not None:
            return self.filesystem
        from pyarrow import fs  # here, since it takes long and --help need not wait for it

        if not self._remote:
            return fs.LocalFileSystem()
        # One attempt: the waiting between attempts is ours. A small file is one request, which is sent on closing.
        once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
        endpoint = _endpoint() or self.endpoint
        return fs.S3FileSystem(
            endpoint_override=endpoint, retry_strategy=once, connect_timeout=5, allow_delayed_open=True
        )

    def _path(self, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{name!r} lies outside {self.location}")
        root = self.location.removeprefix("s3://")
        return f"{root}/{name}" if name else root

    def _upload(self, source: Path, target: str) -> None:
        if self._remote:
            with source.open("rb") as local, self._files.open_output_stream(target) as stored:
                shutil.copyfileobj(local, stored, 2**20)
            return
        partial = self._path(f"{PARTIAL}{uuid.uuid4().hex}")
        self._files.create_dir(str(Path(target).parent), recursive=True)
        try:
            with source.open("rb") as local, self._files.open_output_stream(partial) as stored:
                shutil.copyfileobj(local, stored, 2**20)
            self._files.move(partial, target)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    def _remove(self, how: Callable[[str], None], name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            how(self._path(name))

    def _attempt(self, verb: str, name: str, action: Callable[[], T]) -> T:
        from pyarrow import ArrowException

        for attempt in range(self.attempts):
            try:
                return action()
            except (OSError, ArrowException) as error:
                if attempt + 1 == self.attempts or _lasts(error):
                    raise UserError(f"cannot {verb} {name} in {self.location}: {_reason(error)}") from error
            # Many trials lose the server at once; they should not all come back at once.
            self.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0))
        raise AssertionError("attempts is 1 or more")


def _lasts(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    if number is not None:
        return number not in PASSING
    return not isinstance(error, OSError) or any(re.search(sign, str(error)) for sign in LASTING)


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number is not None:
        return BY_NUMBER.get(number, os.strerror(number))
    text = first_line(error)
    said = next((meaning for sign, meaning in LASTING.items() if re.search(sign, text)), "")
    # pyarrow's own words, "When ... for key ... in bucket ...", say nothing that the line does not say already.
    text = re.sub(r"^.*?(?=AWS Error)", "", re.sub(r" \(Request ID: .*?\)| Detail: .*", "", text))
    return f"{said} ({text})" if said else text
