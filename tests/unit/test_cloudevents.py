"""Both modes of CloudEvents, read by the SDK of the CloudEvents project and verified by that of Standard Webhooks."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from deliveries.formats import FORMATS, Message
from deliveries.formats.cloudevents import source_of
from deliveries.formats.cloudevents_binary import header_value
from hookhub.receiving import verify
from tests.golden.messages import MESSAGES, NEWEST, PUSH

MODES = ("cloudevents", "cloudevents-binary")
every_mode = pytest.mark.parametrize("mode", MODES)
every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def read(message: Message, *, mode: str) -> BaseCloudEvent:
    rendered = FORMATS[mode].render(message)
    headers = {name.lower(): value for name, value in rendered.headers}
    return from_http_event(HTTPMessage(headers=headers, body=rendered.body))


@every_mode
@every_message
def test_the_sdk_reads_every_message(mode: str, message: Message) -> None:
    event = read(message, mode=mode)

    assert event.get_specversion() == "1.0"
    assert event.get_id() == message.event_id
    assert event.get_type() == message.event_type
    assert event.get_source() == source_of(message)
    assert event.get_time() == message.occurred_at.replace(microsecond=message.occurred_at.microsecond // 1000 * 1000)
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("deliveryid") == message.delivery_id
    assert event.get_data() == json.loads(message.payload)


def test_both_modes_tell_the_same() -> None:
    structured, binary = (read(PUSH, mode=mode).get_attributes() for mode in MODES)

    assert structured == binary
    assert structured.keys() == {
        "specversion", "id", "source", "type", "time", "datacontenttype", "deliveryid",
    }  # fmt: skip


def test_attributes_have_lower_case_alphanumeric_names() -> None:
    names = read(PUSH, mode=MODES[0]).get_attributes().keys()

    assert all(name.isascii() and name.isalnum() and name.islower() for name in names)


@every_mode
def test_the_signature_is_that_of_standard_webhooks(mode: str) -> None:
    rendered = FORMATS[mode].render(PUSH)

    with freeze_time(PUSH.sent_at):
        Verifier(NEWEST).verify(rendered.body, dict(rendered.headers))
        with pytest.raises(WebhookVerificationError):
            Verifier(NEWEST).verify(rendered.body + b" ", dict(rendered.headers))


def test_the_receivers_helper_verifies_the_structured_mode() -> None:
    rendered = FORMATS["cloudevents"].render(PUSH)

    received = verify(
        rendered.body, dict(rendered.headers), secrets=NEWEST, format="standard-webhooks", now=PUSH.sent_at
    )

    assert (received.type, received.id, received.data) == ("push", PUSH.delivery_id, json.loads(PUSH.payload))


@pytest.mark.parametrize(
    ("organization", "repository", "source"),
    [
        ("acme", "widgets", "/acme/widgets"),
        ("acme", None, "/acme"),
        ("acme", "grüße", "/acme/gr%C3%BC%C3%9Fe"),
        ("acme", "a/b c%", "/acme/a%2Fb%20c%25"),
    ],
)
def test_the_source_is_a_uri_reference(organization: str, repository: str | None, source: str) -> None:
    assert source_of(PUSH._replace(organization=organization, repository=repository)) == source


# The example of the HTTP protocol binding, 3.1.3.2, and its rules.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ('say "100%"', "say%20%22100%25%22"),
        ("\x00\t\x7f\x85", "%00%09%7F%C2%85"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ],
)
def test_a_header_is_encoded_as_the_binding_says(text: str, value: str) -> None:
    assert header_value(text) == value


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_the_sdk_reads_whatever_a_repository_is_called(name: str) -> None:
    message = PUSH._replace(repository=name, occurred_at=datetime(2026, 3, 4, tzinfo=UTC))

    assert {read(message, mode=mode).get_source() for mode in MODES} == {source_of(message)}
