"""Storage of the trials' files: a local folder, a network disk, or an S3 bucket."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.errors import DiskError, UsageError, UserError, first_line, is_disk_error
from trainables.storage.retry import Backoff, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ATTEMPTS = 8
"""Enough attempts to survive an outage of one minute."""
BACKOFF = Backoff(first=1.0, longest=60.0, jitter=0.5)
PARTIAL = ".partial-"
"""Prefix of files and folders that are being written; a process that dies leaves them behind."""
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
TRANSIENT = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
"""Error numbers that a later attempt may not meet again."""
FULL = "no space left; free some, or give another --storage or --home"
ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "the disk quota is used up; free some space, or give another --storage or --home",
    errno.EROFS: "the file system is read-only; give another --storage or --home",
    errno.EACCES: "permission denied; give another --storage or --home, or change the folder's permissions",
    errno.EPERM: "permission denied; give another --storage or --home, or change the folder's permissions",
}
PERMANENT = {
    "NO_SUCH_BUCKET": "there is no such bucket; make it, or give another --storage",
    "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|ExpiredToken|InvalidToken": "access denied; check "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and what they may do in the bucket",
    "REQUEST_TIME_TOO_SKEWED": "the server refuses this machine's clock; set it",
    "HTTP status 301": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "HTTP status 507": FULL,
    r"HTTP status 4(?!08|29)\d\d": "the server refuses the request",
}
"""Permanent errors: patterns in a server's message, which pyarrow passes on as text, and the advice for the user."""


def storage_location(text: str) -> str:
    """Return an absolute folder, or ``s3://bucket/prefix`` without a trailing slash.

    Raises:
        UsageError: the text is neither a folder nor an S3 URL.
    """
    scheme, separator, rest = text.partition("://")
    if not separator and text.strip():
        return str(Path(text).expanduser().absolute())
    bucket, *folders = rest.strip("/").split("/")
    plain = all(re.fullmatch(r"[\w.=+-]+", part) and part not in (".", "..") for part in folders)
    if scheme != "s3" or not re.fullmatch(r"[A-Za-z0-9._-]{3,63}", bucket) or not plain:
        # The part before an @ may be a password.
        raise UsageError(f"--storage is {text.rpartition('@')[2]!r}; expected a folder, or s3://bucket/prefix")
    return f"s3://{'/'.join([bucket, *folders])}"


def _endpoint() -> str | None:
    return next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), None)


@dataclass(frozen=True)
class Storage:
    """Files below one location, by relative names; each file appears complete or not at all.

    Transient errors (a lost connection, a busy server) are retried with exponential backoff; permanent errors, and
    transient ones after the last attempt, raise a ``UserError`` of one line. S3 is configured by the usual variables:
    ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``, ``AWS_ENDPOINT_URL``.
    """

    location: str
    """As returned by ``storage_location``."""
    in_place: bool = False
    """Write files in the location itself, rather than write them to a local scratch folder and copy them."""
    attempts: int = ATTEMPTS
    sleep: Callable[[float], None] = time.sleep
    """Waits for a number of seconds."""
    endpoint: str | None = field(default_factory=_endpoint)
    """URL of the S3 server if it is not Amazon's; sent to nodes, which use it unless they set their own."""
    filesystem: Any = field(default=None, compare=False, repr=False)
    """The pyarrow file system; default: chosen by the location."""

    def below(self, folder: str) -> Storage:
        """Return a folder of this storage as a ``Storage``."""
        self._path(folder)
        return dataclasses.replace(self, location=f"{self.location}/{folder}", filesystem=self._files)

    def put(self, source: Path, name: str) -> None:
        """Store a local file under a name and replace an existing one; with ``in_place`` the file is moved."""
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
        """Return whether there is a file with this name."""
        info = self._attempt("look for", name, lambda: self._files.get_file_info(self._path(name)))
        return bool(info.is_file)

    def list(self, folder: str = "") -> dict[str, int]:
        """Return the sorted names of all files below a folder with their sizes in bytes; empty without the folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        infos = self._attempt("list", folder or "files", lambda: self._files.get_file_info(selector))
        start = len(self._path("")) + 1
        sizes = {info.path[start:]: info.size for info in infos if info.is_file}
        return {name: sizes[name] for name in sorted(sizes) if PARTIAL not in name}

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""
        self._attempt("delete", name, lambda: self._remove(self._files.delete_file, name))

    def delete_folder(self, name: str) -> None:
        """Remove a folder with its contents, if it exists."""
        self._attempt("delete", name, lambda: self._remove(self._files.delete_dir, name))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a local folder for files to ``put``; the folder and its remaining files are removed after the block.

        Raises:
            UserError: the block could not write to the folder.
        """
        here = Path(self.location) if self.in_place else Path(tempfile.gettempdir())
        try:
            here.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=here, ignore_cleanup_errors=True) as folder:
                yield Path(folder)
        except OSError as error:
            elsewhere = "" if self.in_place else "; a larger TMPDIR helps"
            raise _kind(error)(f"cannot write to {here}: {_reason(error)}{elsewhere}") from error

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path to write; if the block succeeds, the file is stored under the name."""
        with self.scratch() as folder:
            path = folder / PurePosixPath(name).name
            yield path
            self.put(path, name)

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """Yield a local path to read a stored file: the file itself, or a copy that is removed after the block.

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
        """Return the content of a small file."""
        with self.fetched(name) as path:
            return path.read_bytes()

    def discard_partials(self) -> None:
        """Remove partial files left in this folder by processes that died; S3 keeps no partial files."""
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
            UserError: a step failed; the message names the step and the reason.
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
        """Leave the connection out: another process opens its own, with the credentials of its node."""
        state = {attribute.name: getattr(self, attribute.name) for attribute in dataclasses.fields(self)}
        return {**state, "filesystem": None}

    @property
    def _remote(self) -> bool:
        return self.location.startswith("s3://")

    @cached_property
    def _files(self) -> Any:
        if self.filesystem is not None:
            return self.filesystem
        from pyarrow import fs  # imported here because the import is slow and --help does not need it

        if not self._remote:
            return fs.LocalFileSystem()
        # One attempt, since ``retry`` repeats them. A small file is one request, which is sent on closing.
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

        def is_transient(error: Exception) -> bool:
            return isinstance(error, (OSError, ArrowException)) and not _is_permanent(error)

        try:
            return retry(action, is_transient=is_transient, attempts=self.attempts, backoff=BACKOFF, sleep=self.sleep)
        except (OSError, ArrowException) as error:
            raise _kind(error)(f"cannot {verb} {name} in {self.location}: {_reason(error)}") from error


def _is_permanent(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    if number is not None:
        return number not in TRANSIENT
    return not isinstance(error, OSError) or any(re.search(pattern, str(error)) for pattern in PERMANENT)


def _kind(error: BaseException) -> type[UserError]:
    return DiskError if is_disk_error(error) else UserError


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number is not None:
        return ADVICE.get(number, os.strerror(number))
    text = first_line(error)
    advice = next((advice for pattern, advice in PERMANENT.items() if re.search(pattern, text)), "")
    # Drop pyarrow's prefix, "When ... for key ... in bucket ...": the message already names file and location.
    text = re.sub(r"^.*?(?=AWS Error)", "", re.sub(r" \(Request ID: .*?\)| Detail: .*", "", text))
    return f"{advice} ({text})" if advice else text
