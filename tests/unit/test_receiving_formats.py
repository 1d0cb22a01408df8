"""The receiver's helper verifies every format that signs, and rejects any other request with a message."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries import formats
from deliveries.formats import Message
from deliveries.signing import sha256_hex
from hookhub.receiving import FORMATS, VerificationFailed, verify
from tests.golden.messages import MESSAGES, NEWEST, OLDER, OLDEST, PUSH, messages_for

SENT = PUSH.sent_at
OTHER = "whsec_Zm9yIGFub3RoZXIgcGFpciBvZiBleWVz"
# The formats that a request's headers tell; sdk/vectors has the others as well.
TOLD = ("standard-webhooks", "coregit", "code-storage", "sigmagit", "social-gateway", "github", "codmir")
every_format = pytest.mark.parametrize("slug", TOLD)
every_message = pytest.mark.parametrize(
    ("slug", "message"),
    [
        pytest.param(slug, message, id=f"{slug}-{name}")
        for slug in TOLD
        for name, message in messages_for(formats.FORMATS[slug]).items()
        if message.secrets
    ],
)


def sent(slug: str, message: Message = PUSH) -> tuple[bytes, dict[str, str]]:
    rendered = formats.FORMATS[slug].render(message)
    return rendered.body, dict(rendered.headers)


def refusal(body: bytes, headers: Any, *, slug: str | None = None, now: datetime = SENT, **more: Any) -> str:
    """Return the message with which a request is rejected; any other exception fails the test."""
    with pytest.raises(VerificationFailed) as raised:
        verify(body, headers, secrets=NEWEST, format=slug, now=now, **more)
    return str(raised.value)


def test_every_format_that_signs_can_be_verified() -> None:
    assert FORMATS.keys() == {slug for slug, one in formats.FORMATS.items() if one.secret_policy.allows_secret}


@pytest.mark.parametrize("slug", ["cloudevents-binary", "mcp-event", "websub"])
def test_a_format_that_has_the_signature_of_another_must_be_named(slug: str) -> None:
    said = refusal(*sent(slug))

    assert said.startswith(("The request has signatures of several formats", "The request has no known signature"))
    assert verify(*sent(slug), secrets=NEWEST, format=slug, now=SENT).data == {"ref": "refs/heads/main"}


@every_message
def test_what_is_sent_is_recognised_and_verified(slug: str, message: Message) -> None:
    body, headers = sent(slug, message)

    received = verify(body, headers, secrets=[OTHER, message.secrets[0]], now=message.sent_at)

    assert received == verify(body, headers, secrets=message.secrets[0], format=slug, now=message.sent_at)
    family = message.event_type.partition(".")[0]
    assert received.type == (family if slug in {"social-gateway", "github"} else message.event_type)
    assert json.dumps(received.data) == json.dumps(json.loads(message.payload))


def test_ids_and_times_are_given_where_they_are_signed() -> None:
    known = {slug: verify(*sent(slug), secrets=NEWEST, now=SENT) for slug in TOLD}

    whole, written = SENT.replace(microsecond=0), PUSH.occurred_at.replace(microsecond=123000)
    assert {slug: (received.id, received.timestamp) for slug, received in known.items()} == {
        "standard-webhooks": (PUSH.delivery_id, whole),
        "coregit": (None, written),
        "code-storage": (None, whole),
        "sigmagit": (None, None),
        "social-gateway": (None, None),
        "github": (None, None),
        "codmir": ("evt_019cb8b81e00753a8f000a1b2c3d4e5f", written.replace(microsecond=0)),
    }


@every_format
def test_during_a_rotation_the_receiver_may_know_either_secret_first(slug: str) -> None:
    rotated = PUSH._replace(secrets=(NEWEST, OLDER))

    assert verify(*sent(slug, rotated), secrets=[OLDER, NEWEST], now=SENT).type == "push"
    assert verify(*sent(slug, PUSH), secrets=[NEWEST, OLDER], now=SENT).type == "push"


@every_format
def test_one_changed_byte_another_secret_or_no_signature_is_refused(slug: str) -> None:
    body, headers = sent(slug)
    changed = bytes([*body[:-1], body[-1] ^ 1])
    unsigned = {name: value for name, value in headers.items() if "signature" not in name.lower()}

    assert "ignature" in refusal(changed, headers, slug=slug)
    assert "ignature" in refusal(body, sent(slug, PUSH._replace(secrets=(OLDEST,)))[1], slug=slug)
    assert "missing" in refusal(body, unsigned, slug=slug).lower()
    assert "no known signature header" in refusal(body, {"Content-Type": "application/json"})


@every_format
def test_a_header_that_comes_twice_is_refused_however_the_framework_tells_of_it(slug: str) -> None:
    body, headers = sent(slug)
    [name] = [name for name in headers if name.lower().endswith(("signature", "signature-256")) and "sha1" not in
              headers[name]]  # fmt: skip

    doubled: list[Any] = [
        {**headers, name: [headers[name], headers[name]]},
        {**headers, name.swapcase(): headers[name]},
        [*headers.items(), (name, headers[name])],
        [*((key.encode(), value.encode()) for key, value in headers.items()), (name.encode(), b"x")],
    ]
    for one in doubled:
        assert refusal(body, one, slug=slug) in {
            f"The {name.lower()} header is repeated.",
            "Missing or invalid X-Pierre-Signature header",
        }


@every_format
def test_headers_may_come_as_a_mapping_as_lists_or_as_the_pairs_of_asgi(slug: str) -> None:
    body, headers = sent(slug)

    shapes: list[Any] = [
        headers,
        {name: [value] for name, value in headers.items()},
        list(headers.items()),
        [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        {**headers, "X-Nothing": None},
    ]
    for shape in shapes:
        assert verify(body, shape, secrets=NEWEST, now=SENT).type == "push"


# Hostile --------------------------------------------------------------------------------------------------------------

HOSTILE_VALUES = {
    "empty": "", "blank": "   ", "comma": ",", "equals": "=", "only the scheme": "sha256=", "v1": "v1,",
    "not a number": "t=NaN,sha256=00", "infinite": "t=inf,sha256=00", "exponent": "t=1e99,sha256=00",
    "negative": "t=-1,sha256=00", "a float": "t=1.5,sha256=00", "foreign digits": "t=١٢٣,sha256=00",
    "underscored": "t=1_000,sha256=00", "too many digits": f"t={'9' * 5000},sha256=00",
    "umlauts": "sha256=ü", "emoji": "🎉", "half a pair": "\ud800", "half a pair signed": "sha256=\udfff",
    "NUL": "sha256=\0", "line end": "sha256=00\r\nX: y", "very long": "sha256=" + "0" * 1_000_000,
    "very many": "v1,AAAA " * 100_000, "bytes": b"\xff\xfe", "a list": ["sha256=00", "sha256=01"], "no list": [],
    "a number": 7, "none": None,
}  # fmt: skip


@every_format
@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_whatever_stands_in_a_header_is_refused_in_words(slug: str, value: object) -> None:
    body, headers = sent(slug)

    for name in headers:
        if name not in {"Content-Type", "User-Agent", "Accept", "X-Hub-Signature", *NOT_SIGNED}:
            assert refusal(body, {**headers, name: value}, slug=slug)


# Headers that no signature covers, so that changed values are accepted or ignored.
NOT_SIGNED = {
    "X-CoreGit-Event", "X-CoreGit-Webhook-Id", "X-Pierre-Event", "X-Sigmagit-Event", "X-SocialGateway-Event",
    "X-SocialGateway-Delivery", "X-GitHub-Event", "X-GitHub-Delivery", "X-GitHub-Hook-ID",
    "X-GitHub-Hook-Installation-Target-ID", "X-GitHub-Hook-Installation-Target-Type", "X-Codmir-Event",
    "X-Codmir-Delivery",
}  # fmt: skip


@every_format
@given(st.binary(max_size=300), st.dictionaries(st.text(max_size=30), st.text(max_size=60), max_size=5), st.text())
def test_no_request_at_all_raises_anything_else(slug: str, body: bytes, more: Mapping[str, str], text: str) -> None:
    told_by = FORMATS[slug].told_by or ""
    for headers in (more, {**more, told_by: text}, {**more, told_by: text, "x-hub-signature-256": text}):
        for name in (slug, None):
            with pytest.raises(VerificationFailed):
                verify(body, headers, secrets=NEWEST, format=name, now=SENT)


BAD_BODIES = {
    "nothing": b"", "not JSON": b"{", "NUL": b"\0", "not UTF-8": b'"\xff"', "deep": b"[" * 100_000,
    "a long number": b"9" * 10_000, "half a form": b"payload=%7", "a form with more": b"payload=1&payload=2",
}  # fmt: skip


@every_format
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_signed_and_is_no_json_is_refused(slug: str, body: bytes) -> None:
    said = refusal(body, signed_by_hand(slug, body), slug=slug)

    assert said == "Invalid JSON payload" or "The signature is valid, but" in said


ENVELOPES = {
    "an array": b"[]", "a number": b"1", "empty": b"{}", "a type that is no text": b'{"type":1,"event":1,"id":1,'
    b'"timestamp":"2026-03-04T12:00:00Z","data":1}', "no time": b'{"type":"a","event":"a","id":"1","timestamp":NaN}',
    "a time without a zone": b'{"type":"a","event":"a","id":"1","timestamp":"2026-03-04T12:00:00","data":1}',
}  # fmt: skip


@pytest.mark.parametrize("slug", ["coregit", "codmir"])
@pytest.mark.parametrize("body", ENVELOPES.values(), ids=ENVELOPES)
def test_an_envelope_that_is_signed_and_lacks_something_is_refused(slug: str, body: bytes) -> None:
    assert refusal(body, signed_by_hand(slug, body), slug=slug)


def signed_by_hand(slug: str, body: bytes) -> dict[str, str]:
    """Return valid headers for an arbitrary body."""
    _, headers = sent(slug)
    if slug == "standard-webhooks":
        # Signed correctly, but for a body that the format would never produce.
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = b64decode(NEWEST.removeprefix("whsec_"))
        return {**headers, "webhook-signature": f"v1,{b64encode(digest(key, signed, sha256)).decode()}"}
    if slug == "code-storage":
        moment = int(SENT.timestamp())
        return {**headers, "X-Pierre-Signature": pierre(body, moment)}
    name = "X-Hub-Signature-256" if "X-Hub-Signature-256" in headers else next(n for n in headers if "Signature" in n)
    return {**headers, name: f"sha256={sha256_hex(NEWEST.encode(), body)}"}


# Code Storage, with its own error messages ----------------------------------------------------------------------------


def pierre(body: bytes, moment: object) -> str:
    return f"t={moment},sha256={sha256_hex(NEWEST.encode(), f'{moment}.'.encode() + body)}"


NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
T = int(NOW.timestamp())
BODY = b'{"ref":"refs/heads/main"}'
MISSING = "Missing or invalid X-Pierre-Signature header"
MALFORMED = "Invalid signature header format"
WORDS: dict[str, tuple[object, bytes, str]] = {
    "no header": (None, BODY, MISSING),
    "an empty header": ("", BODY, MISSING),
    "a blank header": ("  ", BODY, MISSING),
    "two headers": ([pierre(BODY, T), pierre(BODY, T)], BODY, MISSING),
    "an endless header": ("t=1,sha256=" + "0" * 9000, BODY, MISSING),
    "no time": ("sha256=00", BODY, MALFORMED),
    "no signature": (f"t={T}", BODY, MALFORMED),
    "an empty time": ("t=,sha256=00", BODY, MALFORMED),
    "an empty signature": (f"t={T},sha256=", BODY, MALFORMED),
    "neither": ("nonsense", BODY, MALFORMED),
    "a blank behind the comma": (pierre(BODY, T).replace(",", ", "), BODY, MALFORMED),
    "NaN": ("t=NaN,sha256=00", BODY, "Invalid timestamp in signature"),
    "too old by a second": (pierre(BODY, T - 301), BODY, "Webhook timestamp too old (301 seconds)"),
    "too old and wrong": (f"t={T - 1000},sha256=00", BODY, "Webhook timestamp too old (1000 seconds)"),
    "from 1970": (pierre(BODY, 0), BODY, f"Webhook timestamp too old ({T} seconds)"),
    "in the future": (pierre(BODY, T + 61), BODY, "Webhook timestamp is in the future"),
    "in the far future": (pierre(BODY, 10**10), BODY, "Webhook timestamp is in the future"),
    "mismatch": (f"t={T},sha256={'0' * 64}", BODY, "Invalid signature"),
    "too short": (f"t={T},sha256=00", BODY, "Invalid signature"),
    "not hexadecimal": (f"t={T},sha256=ü", BODY, "Invalid signature"),
    "another time": (pierre(BODY, T - 1).replace(str(T - 1), str(T)), BODY, "Invalid signature"),
    "another body": (pierre(BODY, T), BODY + b" ", "Invalid signature"),
    "no JSON": (pierre(b"{", T), b"{", "Invalid JSON payload"),
}


@pytest.mark.parametrize(("header", "body", "words"), WORDS.values(), ids=WORDS)
def test_code_storage_refuses_in_its_own_words(header: object, body: bytes, words: str) -> None:
    headers = {"X-Pierre-Event": "push", "X-Pierre-Signature": header}

    assert refusal(body, headers, slug="code-storage", now=NOW) == words


def test_code_storage_needs_to_be_told_the_event() -> None:
    headers = {"X-Pierre-Signature": pierre(BODY, T)}

    assert refusal(BODY, headers, now=NOW) == "Missing or invalid X-Pierre-Event header"


GOOD_AGES = [0, 1, 299, 300, -1, -59, -60]


@pytest.mark.parametrize("age", GOOD_AGES)
def test_code_storage_accepts_five_minutes_back_and_one_ahead(age: int) -> None:
    headers = {"X-Pierre-Event": "push", "X-Pierre-Signature": pierre(BODY, T - age)}

    # Half a second later, the time in whole seconds is the same.
    for now in (NOW, NOW + timedelta(milliseconds=500)):
        assert verify(BODY, headers, secrets=NEWEST, now=now).data == {"ref": "refs/heads/main"}


@pytest.mark.parametrize("age", [10**6, -(10**6)])
def test_no_tolerance_turns_the_check_of_the_time_off_and_nothing_else(age: int) -> None:
    headers = {"X-Pierre-Event": "push", "X-Pierre-Signature": pierre(BODY, T - age)}
    off = timedelta(0)

    assert verify(BODY, headers, secrets=NEWEST, now=NOW, tolerance=off).type == "push"
    assert refusal(BODY + b" ", headers, now=NOW, tolerance=off) == "Invalid signature"
    late = PUSH._replace(sent_at=NOW - timedelta(seconds=age))
    assert verify(*sent("standard-webhooks", late), secrets=NEWEST, now=NOW, tolerance=off).type == "push"


def test_a_wider_tolerance_holds_for_code_storage_too() -> None:
    headers = {"X-Pierre-Event": "push", "X-Pierre-Signature": pierre(BODY, T - 3600)}

    assert verify(BODY, headers, secrets=NEWEST, now=NOW, tolerance=timedelta(hours=1)).type == "push"
    said = refusal(BODY, headers, now=NOW, tolerance=timedelta(seconds=3599))
    assert said == "Webhook timestamp too old (3600 seconds)"


def test_githubs_own_example_is_verified() -> None:
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    headers = {
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }

    with pytest.raises(VerificationFailed, match="The signature is valid, but the body is not valid JSON"):
        verify(b"Hello, World!", headers, secrets="It's a Secret to Everybody")


def test_a_form_and_a_json_body_say_the_same() -> None:
    for slug in ("social-gateway", "github"):
        for name in ("utf-8", "sigmagit-issue"):
            as_form = sent(slug, MESSAGES[name]._replace(content_type="form"))
            assert verify(*as_form, secrets=NEWEST) == verify(*sent(slug, MESSAGES[name]), secrets=NEWEST)
