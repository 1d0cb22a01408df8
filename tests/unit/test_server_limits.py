"""Limits on a request's body, decided from its head."""

from datetime import timedelta

import pytest

from hookhub.http.early_refusals import EarlyRefusal as Refused
from hookhub.http.early_refusals import render_refusal
from hookhub.server.limits import Head, Limits, max_body, refusal_of, seconds_allowed

LIMITS = Limits(publish=1_000_000, deadline=timedelta(seconds=10), min_rate=1000)


@pytest.mark.parametrize(
    ("head", "most"),
    [
        pytest.param(Head("POST", "/v1/events", has_key=True), 1_000_000, id="events with a key"),
        pytest.param(Head("POST", "/v1/events/validate", has_key=True), 1_000_000, id="events to check"),
        pytest.param(Head("POST", "/v1/events"), 65_536, id="events without a key"),
        pytest.param(Head("POST", "/v1/events", has_session=True), 65_536, id="events by hand"),
        pytest.param(Head("PUT", "/v1/events", has_key=True), 65_536, id="another method"),
        pytest.param(Head("POST", "/v1/webhooks", has_key=True), 65_536, id="webhooks"),
        pytest.param(Head("POST", "/repos/a/b/hooks", has_key=True), 65_536, id="a dialect"),
        pytest.param(Head("POST", "/v1/event-types", has_key=True), 524_288, id="an event type with its schema"),
        pytest.param(Head("POST", "/admin/login/"), 4096, id="the admin's login"),
        pytest.param(Head("POST", "/accounts/login/", has_session=True), 4096, id="the login in two steps"),
        pytest.param(Head("POST", "/accounts/2fa/authenticate/"), 4096, id="its second step"),
        pytest.param(Head("POST", "/admin/login/", has_session=True), 4096, id="the login with some cookie"),
        pytest.param(Head("POST", "/v1/auth/login/"), 4096, id="the API's login"),
        pytest.param(Head("POST", "/admin/hookhub/apikey/add/"), 4096, id="a form of a stranger's"),
        pytest.param(Head("POST", "/admin/hookhub/apikey/add/", has_session=True), 65_536, id="a form"),
        pytest.param(Head("POST", "/admin/hookhub/customeventtype/1/"), 4096, id="an event type of a stranger's"),
        pytest.param(Head("POST", "/admin/hookhub/customeventtype/1/", has_session=True), 524_288, id="an event type"),
        pytest.param(Head("GET", "/nowhere"), 65_536, id="nowhere"),
    ],
)
def test_how_long_a_body_may_be(head: Head, most: int) -> None:
    assert max_body(head, limits=LIMITS) == most
    assert refusal_of(head._replace(content_length=str(most)), limits=LIMITS) is None
    refused = refusal_of(head._replace(content_length=str(most + 1)), limits=LIMITS)
    assert refused is not None
    assert (refused.status, refused.code) == (413, "too_large")


def test_a_small_request_limit_holds_without_a_key_too() -> None:
    assert max_body(Head("POST", "/v1/events"), limits=Limits(publish=10)) == 10


@pytest.mark.parametrize("length", ["+1", "-1", "1_0", "1.0", "0x1", "\u0661", "1,1", "9" * 20])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    refused = refusal_of(Head("POST", "/v1/webhooks", content_length=length), limits=LIMITS)

    assert refused == (400, "malformed", "The Content-Length is invalid.")


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=a", "Multipart/Mixed", "multipart/x"])
def test_uploads_are_refused_whatever_their_length(content_type: str) -> None:
    refused = refusal_of(Head("POST", "/admin/login/", content_type, "1"), limits=LIMITS)

    assert refused is not None
    assert (refused.status, refused.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("received", "seconds"), [(0, 5.0), (1, 5.001), (1000, 6.0), (5000, 10.0), (10**9, 10.0)])
def test_a_body_has_as_long_as_its_bytes_are_worth(received: int, seconds: float) -> None:
    assert seconds_allowed(received, limits=LIMITS) == seconds


def test_a_refusal_is_a_page_for_browsers_and_json_for_programs() -> None:
    refused = Refused(413, "too_large", "A <b> & more")

    assert render_refusal(refused, accept="text/html,*/*") == (
        "text/html; charset=utf-8",
        b"<!doctype html><title>413</title><p>A &lt;b&gt; &amp; more</p>",
    )
    assert render_refusal(refused, accept="*/*") == (
        "application/json",
        b'{"error": {"code": "too_large", "message": "A <b> & more", "fields": []}}',
    )
