"""Hostile requests: whatever bytes and headers they have, a receiver gets VerificationFailed and nothing else."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries import formats
from hookhub.receiving import FORMATS, VerificationFailed, verify
from hookhub.receiving.request import digest_of
from tests.golden.messages import NEWEST, PUSH

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
# All kinds of secrets that some format accepts; Standard Webhooks does not accept the plain ones.
SECRETS = ["plain text secret", "whsec_!!!", "whsec_", "ünïcode secret", "whsec_a", "=", NEWEST, "a" * 300]
HEADERS = sorted(
    {each.told_by for each in FORMATS.values() if each.told_by}
    | {"webhook-id", "webhook-timestamp", "x-hub-signature-256", "x-pierre-event", "x-sigmagit-event", "ce-type"}
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "sha256=", "sha256=" + "0" * 64, "v1,", "v1,x", "v1,%%", "v1,ü", "1", "1772625600", "9" * 11, "9" * 5000,
            "-1", "1e9", "²", "\ud800", "\0", "t=1,sha256=x", "t=" + "9" * 5000 + ",sha256=0", "push", "v1," * 5000,
        ]
    ),
)  # fmt: skip
VALUES = st.one_of(
    TEXTS, TEXTS.map(lambda text: text.encode(errors="replace")), st.binary(max_size=20), st.none(), st.integers(),
    st.lists(TEXTS, max_size=3), st.lists(st.binary(max_size=5), max_size=2).map(tuple),
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(HEADERS), st.sampled_from(HEADERS).map(str.title), st.text(max_size=10))
PAIRS = st.lists(st.tuples(st.one_of(NAMES, NAMES.map(lambda name: name.encode(errors="replace"))), VALUES), max_size=8)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"{}", b"[" * 100_000, b"payload=%", b"\xff\xfe", b'{"a":' + b"9" * 5000 + b"}"]),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    body=BODIES,
    headers=st.one_of(PAIRS, PAIRS.map(dict)),
    secret=st.sampled_from(SECRETS),
    slug=st.sampled_from([None, *FORMATS]),
)
def test_whatever_comes_is_refused_as_unproven(body: bytes, headers: Any, secret: str, slug: str | None) -> None:
    secrets = [NEWEST] if slug and FORMATS[slug].has_coded_secret else [secret, "another one"]

    with pytest.raises(VerificationFailed) as failed:
        verify(body, headers, secrets=secrets, format=slug, now=NOW)

    # It becomes the body of a response, so it must be encodable.
    assert str(failed.value).encode()


SIGNED_BODIES = [
    {"id": "evt_1", "event": "push", "type": "push", "timestamp": timestamp, "data": None}
    for timestamp in (
        "", "2026-03-04", "2026-03-04T12:00:00", "0000-01-01T00:00:00Z", "2026-13-04T12:00:00Z",
        "2026-03-04T12:00:00+24:00",
        "2026-03-04T12:00:00-99:99", 1772625600, None, {}, [[]] * 3, "9" * 4000, "2026-03-04T12:00:60Z", "\ud800",
    )
]  # fmt: skip


@pytest.mark.parametrize("slug", ["coregit", "codmir"])
@pytest.mark.parametrize("parsed", SIGNED_BODIES, ids=lambda parsed: repr(parsed["timestamp"])[:30])
def test_a_signed_time_that_is_none_is_refused(slug: str, parsed: dict[str, Any]) -> None:
    body = json.dumps(parsed).encode()

    with pytest.raises(VerificationFailed, match="is not an RFC 3339 time"):
        verify(body, signed(slug, body), secrets="plain text secret", format=slug, now=NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-04T12:00:00Z", NOW),
        ("2026-03-04t12:00:00z", NOW),
        ("2026-03-04T12:00:00.5+00:00", NOW + timedelta(milliseconds=500)),
        ("2026-03-04T13:00:00.123456789+01:00", NOW + timedelta(microseconds=123456)),
    ],
)
def test_a_signed_time_is_read_as_rfc_3339_writes_it(text: str, moment: datetime) -> None:
    body = json.dumps({"id": "evt_1", "type": "push", "timestamp": text, "data": None}).encode()

    assert verify(body, signed("codmir", body), secrets="plain text secret", format="codmir").timestamp == moment


@pytest.mark.parametrize("slug", ["coregit", "codmir"])
def test_an_event_older_than_the_receiver_takes_is_refused_where_its_time_is_signed(slug: str) -> None:
    rendered = formats.FORMATS[slug].render(PUSH._replace(secrets=("plain text secret",), occurred_at=NOW))
    body, headers = rendered.body, dict(rendered.headers)
    day = timedelta(days=1)

    def at(now: datetime, max_event_age: timedelta | None = day) -> str:
        received = verify(body, headers, secrets="plain text secret", format=slug, max_event_age=max_event_age, now=now)
        return received.type

    assert (at(NOW), at(NOW + day), at(NOW - timedelta(minutes=5))) == ("push", "push", "push")
    # Retries and redeliveries carry the event's own time, so its age is not checked without a limit.
    assert at(NOW + 30 * day, None) == "push"
    for wrong in (NOW + day + timedelta(seconds=1), NOW - timedelta(minutes=6)):
        with pytest.raises(
            VerificationFailed, match="is in the future or more than 86400 seconds ago: the request is a replay"
        ):
            at(wrong)


def test_a_stranger_who_chooses_the_format_by_a_header_is_refused_with_a_plain_secret() -> None:
    headers = {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,x"}

    with pytest.raises(VerificationFailed, match="No signature matches"):
        verify(b"{}", headers, secrets="plain text secret")


def test_a_secret_that_the_format_cannot_have_is_the_receivers_mistake_for_every_request() -> None:
    for headers in ({}, {"webhook-signature": "v1,x"}):
        with pytest.raises(ValueError, match="'whsec_' followed by base64"):
            verify(b"{}", headers, secrets=[NEWEST, "plain text secret"], format="standard-webhooks")
        with pytest.raises(ValueError, match="lone surrogate"):
            verify(b"{}", headers, secrets="\ud800", format="github")
        with pytest.raises(TypeError, match="as str, not bytes"):
            verify(b"{}", headers, secrets=[b"x"])  # type: ignore[list-item]


@pytest.mark.parametrize("slug", ["standard-webhooks", "code-storage", "coregit"])
@pytest.mark.parametrize(
    "mistake",
    [
        {"tolerance": None}, {"tolerance": 300}, {"tolerance": False}, {"tolerance": timedelta(seconds=-1)},
        {"max_event_age": 0}, {"max_event_age": timedelta(seconds=-1)}, {"now": datetime(2026, 3, 4)},  # noqa: DTZ001
    ],
    ids=str,
)  # fmt: skip
def test_a_span_that_is_none_is_the_receivers_mistake_and_turns_no_check_off(slug: str, mistake: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(mistake))} must"):
        verify(b"{}", {}, secrets=NEWEST, format=slug, **mistake)


@pytest.mark.parametrize("slug", ["coregit", "codmir"])
def test_the_longest_spans_are_no_limits(slug: str) -> None:
    body = json.dumps({"event": "push", "type": "push", "id": "1", "timestamp": NOW.isoformat(), "data": 1}).encode()
    headers = signed(slug, body)

    for now in (NOW, NOW.replace(year=9999), NOW.replace(year=1)):
        received = verify(
            body, headers, secrets="plain text secret", format=slug,
            tolerance=timedelta.max, max_event_age=timedelta.max, now=now,
        )  # fmt: skip
        assert received.type == "push"


def test_a_secret_in_another_alphabet_of_base64_is_none() -> None:
    strange = "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode()

    with pytest.raises(ValueError, match="'whsec_' followed by base64"):
        verify(b"{}", {}, secrets=strange, format="standard-webhooks")


def signed(slug: str, body: bytes) -> dict[str, str]:
    """Return the headers of a request with this body."""
    return {str(FORMATS[slug].told_by): "sha256=" + digest_of(b"plain text secret", body).hex()}
