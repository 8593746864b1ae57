"""The service's pages in a browser without a network, under the policy that they are sent with."""

import json
import re
from collections.abc import Iterator

import httpx2
import pytest

from .conftest import MakeService
from .support.accounts import PASSWORD
from .support.browser import Tab, open_tab
from .support.network import wait_for
from .support.services import Server, Service


@pytest.fixture
def service(make_service: MakeService) -> Service:
    service = make_service("sqlite")
    service.upgrade()
    return service


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    with service.serve(ROOT_PATH="/desk") as server:
        yield server


@pytest.fixture
def tab() -> Iterator[Tab]:
    with open_tab() as tab:
        yield tab


def test_docs_log_in_and_call(server: Server, tab: Tab) -> None:
    page = tab.page

    page.goto(f"{server.url}/desk/docs")
    operation = page.locator("#operations-users-sign_up")  # with the example
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    example = json.loads(operation.locator("textarea").input_value())
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table").get_by_text('"ada@example.com"').wait_for()
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_label("username:").fill(example["username"])
    dialog.get_by_label("password:").fill(example["password"])
    dialog.get_by_role("button", name="Apply given OAuth2").click()
    dialog.get_by_role("button", name="Remove authorization").wait_for()
    dialog.locator(".btn-done").click()
    operation = page.locator(".opblock").filter(has=page.get_by_text("/users/me", exact=True)).first
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table").get_by_text('"ada@example.com"').wait_for()

    assert {url.startswith(server.url) for url in tab.requests} == {True}
    assert tab.complaints == []


def test_redoc_shows_the_document(server: Server, tab: Tab) -> None:
    tab.page.goto(f"{server.url}/desk/redoc")
    tab.page.get_by_role("heading", name="My Service").wait_for()
    tab.page.get_by_role("link", name="API docs by Redocly").wait_for()

    # the logo beside this link is on another host, so the policy blocks it
    assert {url for url in tab.requests if not url.startswith(server.url)} == set(tab.blocked)
    assert len(tab.complaints) == len(tab.blocked) == 1


def test_home_page_leads_to_the_documentation(server: Server, tab: Tab) -> None:
    tab.page.goto(f"{server.url}/desk/")
    assert tab.page.get_by_role("heading").inner_text() == "My Service"
    # the style is applied, so the policy allows it
    assert tab.page.locator("main").evaluate("e => getComputedStyle(e).maxWidth") == "512px"
    tab.page.get_by_role("link", name="API documentation").click()
    tab.page.get_by_role("button", name="Authorize").wait_for()

    assert {url.startswith(server.url) for url in tab.requests} == {True}
    assert tab.complaints == []


def sent_link(server: Server, subject: str) -> str:
    """Wait for an email in the log, and return its link."""
    pattern = re.compile(rf"subject='{subject}' .*(http://\S+#token=[\w-]+)")
    wait_for(lambda: pattern.search(server.output) is not None)
    found: list[str] = pattern.findall(server.output)
    return found[-1]


def test_pages_of_emailed_links(service: Service, tab: Tab) -> None:
    page = tab.page
    with service.serve(ROOT_PATH="/desk", API_PREFIX="/api/v1") as server:
        api, site = f"{server.url}/api/v1", f"{server.url}/desk"
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        assert httpx2.post(f"{api}/users", json=body).status_code == 201

        link = sent_link(server, "Confirm your e-?mail address")
        assert link.startswith(f"{site}/verify-email#")
        page.goto(link)
        page.get_by_role("button", name="Confirm your email address").click()
        page.get_by_text("Your email address is confirmed.").wait_for()

        page.goto(f"{site}/reset-password")
        page.get_by_label("Email address").fill("ada@example.com")
        page.get_by_role("button", name="Send a link").click()
        page.get_by_text("Open the link in the email").wait_for()

        page.goto("about:blank")
        link = sent_link(server, "Choose a new password")
        page.goto(link)
        page.get_by_label("New password").fill("short")
        page.get_by_role("button", name="Choose a new password").click()
        page.get_by_role("status").filter(has_text=re.compile("at least")).wait_for()
        page.get_by_label("New password").fill("another correct horse")
        page.get_by_role("button", name="Choose a new password").click()
        page.get_by_text("Your password is changed.").wait_for()

        page.goto("about:blank")
        page.goto(link)  # used: the page offers another
        page.get_by_label("New password").fill("another correct horse")
        page.get_by_role("button", name="Choose a new password").click()
        page.get_by_label("Email address").fill("ada@example.com")
        page.get_by_role("button", name="Send a link").click()
        page.get_by_text("Open the link in the email").wait_for()

        form = {"username": "ada", "password": "another correct horse"}
        assert httpx2.post(f"{api}/auth/token", data=form).status_code == 200
        assert {url.startswith(site) for url in tab.requests if url != "about:blank"} == {True}
        assert not [text for text in tab.complaints if "Content Security Policy" in text]


def test_pages_of_emailed_links_are_the_front_ends(service: Service) -> None:
    with service.serve(FRONTEND_URL="https://app.example.com") as server:
        assert server.get("/verify-email").status_code == 404
        assert server.get("/reset-password").status_code == 404
