"""The outcome of a response: every status, and every form of Retry-After that a receiver may send."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.formats import FORMATS, Format
from deliveries.formats.base import Verdict
from deliveries.formats.standard_webhooks import StandardWebhooks
from deliveries.policy.outcomes import MAX_RETRY_AFTER, Delivered, Failed, Gone, Outcome, classify, read_retry_after

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
PLAIN = StandardWebhooks()


def judged(status: int, retry_after: str | None = None, wire_format: Format = PLAIN) -> Outcome:
    return classify(status, retry_after=retry_after, wire_format=wire_format, now=NOW)


def test_only_2xx_is_success_410_is_gone_and_every_other_status_is_refused() -> None:
    for status in range(1000):
        expected: Outcome = Failed(status)
        if 200 <= status <= 299:
            expected = Delivered(status)
        elif status == 410:
            expected = Gone(status)
        assert judged(status) == expected, status


@pytest.mark.parametrize("status", [99, 100, 199, 300, 301, 302, 307, 399, 400, 404, 409, 411, 499, 500, 599, 600, 999])
def test_a_status_at_a_boundary_or_a_redirect_is_refused(status: int) -> None:
    assert judged(status) == Failed(status)


class Discordant(StandardWebhooks):
    """Overrides the meaning of some statuses."""

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        verdicts: dict[int, Verdict] = {404: "gone", 410: "retry", 302: "delivered", 400: "reject"}
        if body == b"no":
            return "retry"
        return verdicts.get(status)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (404, Gone(404)),
        (410, Failed(410)),
        (302, Delivered(302)),
        (200, Delivered(200)),
        (500, Failed(500)),
        (400, Failed(400, is_final=True)),
    ],
)
def test_a_format_may_classify_a_status_differently(status: int, outcome: Outcome) -> None:
    assert judged(status, wire_format=Discordant()) == outcome


def test_a_format_may_classify_by_the_body() -> None:
    assert classify(200, retry_after=None, body=b"no", wire_format=Discordant(), now=NOW) == Failed(200)


CHATS: dict[str, tuple[str, int, bytes, Outcome]] = {
    "slack: ok": ("slack", 200, b"ok", Delivered(200)),
    "slack: ok and a line's end": ("slack", 200, b"ok\n", Delivered(200)),
    "slack: a page of something in between": ("slack", 200, b"<html>Log in</html>", Failed(200)),
    "slack: nothing": ("slack", 204, b"", Failed(204)),
    "slack: invalid_payload": ("slack", 400, b"invalid_payload", Failed(400, is_final=True)),
    "slack: action_prohibited": ("slack", 403, b"action_prohibited", Failed(403, is_final=True)),
    "slack: no_service": ("slack", 404, b"no_service", Gone(404)),
    "slack: channel_is_archived": ("slack", 410, b"channel_is_archived", Gone(410)),
    "slack: too many": ("slack", 429, b"", Failed(429)),
    "slack: rollup_error": ("slack", 500, b"rollup_error", Failed(500)),
    "discord: no content": ("discord", 204, b"", Delivered(204)),
    "discord: waited": ("discord", 200, b"{}", Delivered(200)),
    "discord: not understood": ("discord", 400, b"{}", Failed(400, is_final=True)),
    "discord: a wrong token": ("discord", 401, b"{}", Gone(401)),
    "discord: forbidden": ("discord", 403, b"{}", Gone(403)),
    "discord: deleted": ("discord", 404, b"{}", Gone(404)),
    "discord: too many": ("discord", 429, b'{"retry_after": 64000}', Failed(429)),
    "discord: Cloudflare": ("discord", 502, b"<html>", Failed(502)),
    "campfire: created": ("campfire", 201, b"{}", Delivered(201)),
    "campfire: a wrong token": ("campfire", 401, b"", Gone(401)),
    "campfire: no such room": ("campfire", 404, b"", Gone(404)),
    "campfire: too many": ("campfire", 503, b"", Failed(503)),
}


@pytest.mark.parametrize(("slug", "status", "body", "outcome"), CHATS.values(), ids=CHATS)
def test_the_responses_of_chat_systems_are_classified_as_they_document_them(
    slug: str, status: int, body: bytes, outcome: Outcome
) -> None:
    assert classify(status, retry_after=None, body=body, wire_format=FORMATS[slug], now=NOW) == outcome


@pytest.mark.parametrize("slug", ["slack", "discord"])
def test_the_wait_is_read_from_the_header_and_never_from_a_body_whose_unit_has_varied(slug: str) -> None:
    answered = classify(429, retry_after="64", body=b'{"retry_after": 64000}', wire_format=FORMATS[slug], now=NOW)

    assert answered == Failed(429, timedelta(seconds=64))


@pytest.mark.parametrize("slug", list(FORMATS))
def test_no_format_classifies_a_failure_as_success(slug: str) -> None:
    for status in [*range(200), *range(300, 1000)]:
        assert not isinstance(judged(status, wire_format=FORMATS[slug]), Delivered), status


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_counts_with_429_and_503(status: int) -> None:
    assert judged(status, "30") == Failed(status, timedelta(seconds=30))


@pytest.mark.parametrize("status", [301, 400, 413, 500, 502, 504])
def test_retry_after_is_ignored_with_any_other_status(status: int) -> None:
    assert judged(status, "30") == Failed(status, None)


def test_retry_after_is_ignored_with_success_and_gone() -> None:
    assert judged(202, "30") == Delivered(202)
    assert judged(410, "30") == Gone(410)


MINUTE = timedelta(minutes=1)
DAY = timedelta(hours=24)
READ = {
    "none": (None, None),
    "empty": ("", None),
    "blank": ("   ", None),
    "zero": ("0", timedelta(0)),
    "seconds": ("60", MINUTE),
    "blanks around": ("  60\t", MINUTE),
    "leading zeros": ("0060", MINUTE),
    "a day": ("86400", DAY),
    "more than a day": ("86401", DAY),
    "more than a timedelta": ("9" * 30, DAY),
    "more than int() reads": ("9" * 5000, DAY),
    "many leading zeros": ("0" * 20 + "60", MINUTE),
    "negative": ("-1", None),
    "with a plus": ("+60", None),
    "fraction": ("1.5", None),
    "exponent": ("1e99", None),
    "hexadecimal": ("0x3c", None),
    "underscored": ("6_0", None),
    "other digits": ("٦٠", None),
    "superscript": ("²", None),
    "word": ("soon", None),
    "two values": ("60, 120", None),
    "NUL": ("60\0", None),
    "date": ("Wed, 04 Mar 2026 12:01:00 GMT", MINUTE),
    "date of RFC 850": ("Wednesday, 04-Mar-26 12:01:00 GMT", MINUTE),
    "date of asctime": ("Wed Mar  4 12:01:00 2026", MINUTE),
    "date elsewhere": ("Wed, 04 Mar 2026 13:01:00 +0100", MINUTE),
    "date without a zone": ("Wed, 04 Mar 2026 12:01:00", MINUTE),
    "date of unknown zone": ("Wed, 04 Mar 2026 12:01:00 -0000", MINUTE),
    "now": ("Wed, 04 Mar 2026 12:00:00 GMT", timedelta(0)),
    "past": ("Wed, 04 Mar 2020 12:00:00 GMT", timedelta(0)),
    "first year": ("Mon, 01 Jan 0001 00:00:00 +2359", timedelta(0)),
    "last year": ("Fri, 31 Dec 9999 23:59:59 -2359", DAY),
    "next week": ("Wed, 11 Mar 2026 12:00:00 GMT", DAY),
    "no such day": ("Wed, 31 Feb 2026 12:00:00 GMT", None),
    "no such hour": ("Wed, 04 Mar 2026 25:00:00 GMT", None),
    "no such zone": ("Wed, 04 Mar 2026 12:00:00 +9999", None),
    "endless year": ("Wed, 04 Mar 99999999999999999999 12:00:00 GMT", None),
    "endless zone": ("Wed, 04 Mar 2026 12:00:00 +99999999999999999999", None),
}


@pytest.mark.parametrize(("value", "wait"), READ.values(), ids=READ)
def test_retry_after_is_read_in_both_forms_and_nothing_else(value: str | None, wait: timedelta | None) -> None:
    assert read_retry_after(value, now=NOW) == wait


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,25} Mar \d{1,25} \d+:\d+:\d+ [+-]?\d{0,25}", fullmatch=True)
)
def test_any_retry_after_is_a_wait_within_bounds_or_none(value: str) -> None:
    wait = read_retry_after(value, now=NOW)

    assert wait is None or timedelta(0) <= wait <= MAX_RETRY_AFTER
