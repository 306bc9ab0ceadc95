"""A headless Chromium of the system, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in _NAMES if (path := shutil.which(name))), "")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here: install your system's package `chromium`"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser inside the block."""
    # Chromium's sandbox does not work for root in a container.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        try:
            yield browser
        finally:
            browser.close()
