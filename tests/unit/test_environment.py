"""Settings that are read from environment variables."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from hookhub.service.environment import days, seconds

A_CENTURY = timedelta(days=36_500)


@pytest.mark.parametrize(
    ("text", "expected"), [("1", timedelta(days=1)), ("36500", A_CENTURY), ("", timedelta(days=7))]
)
def test_a_number_of_days(text: str, expected: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_TEST_DAYS", text)

    assert days("HOOKHUB_TEST_DAYS", timedelta(days=7)) == expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "36501", "99999999999", "inf", "a week"])
def test_days_that_no_date_is_ago_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_TEST_DAYS", text)

    with pytest.raises(
        ImproperlyConfigured, match=f"^HOOKHUB_TEST_DAYS='{text}' is invalid: expected a number of days"
    ):
        days("HOOKHUB_TEST_DAYS", timedelta(days=7))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "1e14", "a minute"])
def test_seconds_that_no_span_has_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_TEST_SECONDS", text)

    with pytest.raises(ImproperlyConfigured, match=f"^HOOKHUB_TEST_SECONDS='{text}' is invalid: expected a number of"):
        seconds("HOOKHUB_TEST_SECONDS", timedelta(seconds=7))
