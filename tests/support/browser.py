"""A browser that reaches no other machine, and what it reports about pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@dataclass
class Tab:
    """A page, with what it has requested and what the browser has complained about.

    Attributes:
        page: the page.
        requests: the URLs that it has requested.
        blocked: those of them that the page's policy has stopped.
        complaints: errors and warnings.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._note_request)
        self.page.on("requestfailed", self._note_failure)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(("blob:", "data:")):
            self.requests.append(request.url)

    def _note_failure(self, request: Request) -> None:
        if request.failure == "csp":
            self.blocked.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@contextmanager
def open_tab() -> Iterator[Tab]:
    """Open a tab in headless Chromium; skip the test if there is none."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_ENGINES"):
            pytest.fail("Install chromium")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        # as root, Chromium runs only without a sandbox
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", OFFLINE]
        )
        try:
            yield Tab(browser.new_page())
        finally:
            browser.close()
