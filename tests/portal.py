"""Opens sessions of the portal, and uses its pages as a browser without scripts does."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from tests.api import Caller
from tests.pages import Page, read_policy

# What a stranger may have written anywhere.
HOSTILE = "<script>alert(1)</script>"


def ask(caller: Caller, **fields: Any) -> dict[str, Any]:
    answer = caller.post("/v1/portal-sessions", fields)
    assert answer.status_code == 201, answer.content
    assert "no-store" in answer["Cache-Control"]
    found: dict[str, Any] = answer.json()
    return found


def path_of(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def visitor(caller: Caller, **fields: Any) -> Client:
    """Return a browser in which the link of a new session has been opened."""
    browser = Client(enforce_csrf_checks=True)
    answer = browser.get(path_of(ask(caller, **fields)["url"]))
    assert (answer.status_code, answer["Location"]) == (302, "/portal/")
    return browser


def shown(browser: Client, address: str, *, status: int = 200) -> str:
    answer = browser.get(address)
    assert answer.status_code == status, answer.content
    assert answer["Cache-Control"] == "no-store"
    page = Page(read_policy(answer["Content-Security-Policy"]), origin="http://testserver")
    page.feed(answer.content.decode())
    assert page.breaches == []
    return answer.content.decode()


def press(browser: Client, page: str, action: str) -> Any:
    """Send the form of a page that leads to ``action``, as a browser does."""
    found = re.search(rf'action="({action})"><input type="hidden" name="form_token" value="(\w+)">', page)
    assert found is not None, page
    return browser.post(found[1], {"form_token": found[2]})


def token_of(page: str) -> str:
    """Return the token that the forms of a page carry."""
    found = re.search(r'name="form_token" value="(\w+)"', page)
    assert found is not None, page
    return found[1]
