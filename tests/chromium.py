"""Finds a Chromium for the browser tests, or installs Debian's; without one the tests are skipped visibly."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests import debian

# The same engine without the windows, which cost it three quarters of its time.
SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome")
# Chromium's sandbox does not work for root. Nothing may be loaded except from the server under test.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
MISSING = (
    "THE BROWSER TESTS DID NOT RUN: no Chromium was found. Install one (apt-get install chromium-headless-shell) "
    "or name one in the variable CHROMIUM."
)


REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`violated ${event.effectiveDirective}: ${event.blockedURI} ${event.sample} at ${event.sourceFile}`));
"""


@cache
def find() -> str | None:
    """Return the path of a Chromium, installing Debian's package when running as root there; or None."""
    found = look()
    return debian.find(SHELL, package=SHELL) if found is None and "CHROMIUM" not in os.environ else found


def look() -> str | None:
    """Return the path of an installed Chromium, or None; CHROMIUM sets the path or disables the search."""
    named = os.environ.get("CHROMIUM")
    for name in NAMES if named is None else (named,):
        path = shutil.which(name)
        if path is not None:
            return path
    return None


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Provide a headless Chromium with more flags; without one, skip the test, or fail on a build server."""
    path = find()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop in this thread, so Django would refuse the tests' own queries.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        started = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield started
        finally:
            started.close()


def note_violations(page: Page, noted: list[str]) -> None:
    """Record each violation of a page's Content-Security-Policy, and each error in its console."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            noted.append(f"{page.url}: {message.text}")

    page.on("console", note)
    page.add_init_script(REPORT_VIOLATIONS)
