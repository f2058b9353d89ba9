"""A headless Chromium for tests of pages, which are skipped if there is none."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PATIENCE = 600_000
"""Timeout in milliseconds for operations on a page, long enough for a loaded machine."""


def new_page(browser: Browser, **options: Any) -> Page:
    """Open a page in a new context, with ``PATIENCE`` as its default timeout."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE)
    return page


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium or Chrome, or skip the test."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()
