"""SocialGateway's small parts: delivery ids, credentials in URLs, headers."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.db.ids import uuid7, uuid7s
from hookhub.dialects.social_gateway import credentials
from hookhub.dialects.social_gateway.deliveries import headers_of
from hookhub.dialects.social_gateway.delivery_ids import EPOCH, MAX_CLOCK_SKEW, bounds_of, number_of

SAFE_IN_JAVASCRIPT = 2**53 - 1
moments = st.datetimes(datetime(2026, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones


@given(moments)
def test_a_number_is_safe_in_javascript_and_leads_back_to_its_id(at: datetime) -> None:
    attempt_id = uuid7(at)

    number = number_of(attempt_id)
    first, beyond = bounds_of(number, now=at)

    assert 0 <= number <= SAFE_IN_JAVASCRIPT
    assert first <= attempt_id < beyond
    assert (beyond.int - first.int) >> 80 == 1


@given(moments, st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_it_leads_back_for_years(at: datetime, later: timedelta) -> None:
    attempt_id = uuid7(at)

    first, beyond = bounds_of(number_of(attempt_id), now=at + later)

    assert first <= attempt_id < beyond


def test_a_clock_that_is_ahead_leads_back_too() -> None:
    attempt_id = uuid7(EPOCH + MAX_CLOCK_SKEW)

    first, beyond = bounds_of(number_of(attempt_id), now=EPOCH + timedelta(seconds=1))

    assert first <= attempt_id < beyond


def test_the_attempts_of_a_batch_have_numbers_of_their_own_in_order(now: datetime) -> None:
    numbers = [number_of(one) for one in uuid7s(now, 250)]

    assert len(set(numbers)) == 250
    assert number_of(uuid7(now + timedelta(minutes=1))) > max(numbers)


@pytest.mark.parametrize(
    ("attempt_id", "number"),
    [
        (UUID("019b76da-a800-7000-8000-000000000000"), 0),
        (UUID("019b76da-a800-7001-8000-000000000000"), 1 << 7),
        (UUID("019b76da-a800-7000-8000-0000000000ff"), 0x7F),
        (UUID("019b76da-a801-7fff-bfff-ffffffffffff"), (1 << 15) + (1 << 15) - 1),
    ],
)
def test_what_a_number_is_made_of(attempt_id: UUID, number: int) -> None:
    assert number_of(attempt_id) == number


SPLIT = {
    "none": ("https://example.com/a@b?c@d", "https://example.com/a@b?c@d", None),
    "name and password": ("https://u:p@example.com/", "https://example.com/", "u:p"),
    "name": ("HTTP://token@example.com:8080?x", "HTTP://example.com:8080?x", "token"),
    "escaped": ("https://a%40b:c%3Ad@example.com", "https://example.com", "a%40b:c%3Ad"),
    "no host": ("https://u:p@", "https://u:p@", None),
    "two": ("https://u:p@evil@example.com/", "https://u:p@evil@example.com/", None),
    "backslash": ("https://u\\@example.com/", "https://u\\@example.com/", None),
    "another scheme": ("ftp://u:p@example.com/", "ftp://u:p@example.com/", None),
    "a newline": ("https://u:p\n@example.com/", "https://u:p\n@example.com/", None),
    "empty": ("https://@example.com/", "https://@example.com/", None),
}


@pytest.mark.parametrize(("url", "bare", "userinfo"), SPLIT.values(), ids=SPLIT)
def test_a_url_is_parted_from_its_credentials_only_where_nothing_is_doubtful(
    url: str, bare: str, userinfo: str | None
) -> None:
    assert credentials.split(url) == (bare, userinfo)


@pytest.mark.parametrize(
    ("userinfo", "header"),
    [
        ("u:p", "Basic dTpw"),
        ("token", "Basic dG9rZW46"),
        ("a%40b:c%3Ad", "Basic YUBiOmM6ZA=="),
        ("é:ü", "Basic w6k6w7w="),
    ],
)
def test_credentials_become_the_header_that_carries_them(userinfo: str, header: str) -> None:
    assert credentials.as_header(userinfo) == header


def test_a_name_with_a_colon_cannot_be_carried() -> None:
    with pytest.raises(ValueError, match="colon"):
        credentials.as_header("a%3Ab:c")


def test_a_url_is_shown_with_a_mask_for_its_credentials() -> None:
    assert credentials.shown("https://e.example/x", {"Authorization": "Basic dTpw"}) == "https://********@e.example/x"
    assert credentials.shown("https://e.example/x", {"Authorization": "Bearer t"}) == "https://e.example/x"
    assert credentials.shown("https://e.example/x", {}) == "https://e.example/x"


def test_headers_are_read_line_by_line_and_joined_where_they_repeat() -> None:
    lines = "Content-Type: text/plain\nX-A: 1\nX-A: 2: 3\nX-Empty: \nX-Odd: a\x85b"

    assert headers_of(lines) == {"Content-Type": "text/plain", "X-A": "1, 2: 3", "X-Empty": "", "X-Odd": "a\x85b"}
    assert headers_of("") == {}
