"""Environment of a local S3 server, and file systems that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

BUCKET = "pictures"


def point_to(patch: pytest.MonkeyPatch, url: str) -> None:
    """Set the variables that configure S3, and remove those of the machine's account."""
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_ACCESS_KEY_ID", "who")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("no_proxy", "127.0.0.1")


class Faulty:
    """A pyarrow file system whose next operations raise the errors in ``faults``; for ``None`` the operation runs."""

    def __init__(self, inner: Any, faults: list[BaseException | None] | None = None) -> None:
        self.inner, self.faults = inner, faults or []
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.inner, name)

        def perform(*args: Any, **options: Any) -> Any:
            self.asked.append(name)
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None:
                raise fault
            return operation(*args, **options)

        return perform
