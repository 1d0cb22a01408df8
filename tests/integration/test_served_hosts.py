"""Which Host headers are answered, and how others are rejected."""

import logging
from typing import Any

import pytest
from django.test import Client

from hookhub.service.connections import served_by_default


@pytest.mark.parametrize("path", ["/", "/v1/", "/v1/webhooks", "/admin/login/", "/static/nothing.css"])
def test_a_host_that_is_not_served_is_one_line_in_the_log_and_a_clear_answer(
    db: None, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.INFO):
        for_programs = Client().get(path, headers={"Host": "evil.example"})
        for_people = Client().get(path, headers={"Host": "evil.example", "Accept": "text/html"})

    message = "Unknown host 'evil.example'. The operator can add it to HOOKHUB_SERVED_HOSTS."
    assert (for_programs.status_code, for_people.status_code) == (400, 400)
    assert for_programs.json()["error"] == {"code": "unknown_host", "message": message, "fields": []}
    assert "Unknown host &#x27;evil.example&#x27;" in for_people.content.decode()
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("Rejected a request for host 'evil.example', which is not in HOOKHUB_SERVED_HOSTS", None)
    ] * 2


def test_publishing_asks_for_the_host_too(api: Any) -> None:
    refused = api.client.post(
        "/v1/events", {"type": "push", "data": {}}, "application/json", headers={**api.headers, "Host": "evil.example"}
    )

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_host")


@pytest.mark.parametrize("host", ["evil\x1b[31m.example", "x" * 5000, "a\nb", ""])
def test_a_strange_host_is_cut_and_quoted_in_the_log(db: None, caplog: pytest.LogCaptureFixture, host: str) -> None:
    assert Client().get("/v1/", headers={"Host": host}).status_code == 400

    (record,) = [record for record in caplog.records if record.name == "hookhub.http"]
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 300


@pytest.mark.parametrize(
    ("public_url", "more"),
    [
        ("http://127.0.0.1:8000", []),
        ("https://hooks.example.org/base", ["hooks.example.org"]),
        ("http://192.168.1.5:8000", ["192.168.1.5"]),
        ("http://[2001:db8::1]:8000", ["[2001:db8::1]"]),
    ],
)
def test_by_default_only_this_machine_and_the_public_address_are_served(public_url: str, more: list[str]) -> None:
    assert list(served_by_default(public_url)) == ["localhost", ".localhost", "127.0.0.1", "[::1]", *more]
