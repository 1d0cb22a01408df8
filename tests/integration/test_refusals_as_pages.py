"""Rejections before any view are HTML pages for browsers, with the same Content-Security-Policy as every page."""

import asyncio
from typing import Any

import pytest
from django.test import Client

from hookhub.http.early_refusals import REFUSAL_HEADERS, EarlyRefusal
from hookhub.server.front import _send_refusal
from hookhub.server.limits import Limits
from hookhub.server.wsgi import Limited

PAGE = {"HTTP_ACCEPT": "text/html", "REQUEST_METHOD": "POST", "PATH_INFO": "/admin/login/"}


def headers_of_a_host_that_is_not_served() -> dict[str, str]:
    return dict(Client().get("/admin/", headers={"Host": "evil.example", "Accept": "text/html"}).headers)


def headers_behind_another_server() -> dict[str, str]:
    answered: dict[str, str] = {}
    refused = Limited(lambda _environ, _start: [], limits=Limits(publish=1000))
    refused({**PAGE, "CONTENT_LENGTH": "999999"}, lambda _status, headers: answered.update(headers))
    return answered


def headers_of_the_front() -> dict[str, str]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(_send_refusal(send, PAGE, EarlyRefusal(413, "too_large", "Too large.")))
    return {name.decode().title(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    "headers_of", [headers_of_a_host_that_is_not_served, headers_behind_another_server, headers_of_the_front]
)
def test_a_refusal_for_browsers_has_the_headers_of_a_page(db: None, headers_of: Any) -> None:
    headers = headers_of()

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert {name: headers[name] for name, _ in REFUSAL_HEADERS} == dict(REFUSAL_HEADERS)
