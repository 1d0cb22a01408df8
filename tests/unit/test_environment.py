"""Settings that are read from environment variables."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hookhub import procfile
from hookhub.service.checks import OTHERS, check_variables
from hookhub.service.environment import (
    MAX_WHOLE,
    days,
    host_names,
    level,
    origins,
    public_url,
    readable,
    seconds,
    sentry_dsn,
    served_hosts,
    url,
    waits,
    whole,
)
from tests.unit.test_example_env import defaults as defaults_in_the_table

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


@pytest.mark.parametrize(("text", "bound"), [("-1", "at least 0"), ("11", "at most 10"), ("9" * 30, "at most 10")])
def test_a_number_out_of_its_range_is_refused(text: str, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_TEST_NUMBER", text)

    with pytest.raises(ImproperlyConfigured, match=f"^HOOKHUB_TEST_NUMBER='{text}' is invalid: .*must be {bound}"):
        whole("HOOKHUB_TEST_NUMBER", 7, most=10)


def test_no_number_is_larger_than_postgresql_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKHUB_TEST_NUMBER", str(MAX_WHOLE + 1))

    with pytest.raises(ImproperlyConfigured, match=f"must be at most {MAX_WHOLE}"):
        whole("HOOKHUB_TEST_NUMBER", 7)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (waits, "0,1.5, 60", (timedelta(0), timedelta(seconds=1.5), timedelta(minutes=1))),
        (level, "debug", "DEBUG"),
        (public_url, "https://example.org/hooks/", "https://example.org/hooks"),
        (public_url, "http://[::1]:8000", "http://[::1]:8000"),
        (origins, "https://example.org/, http://*.example.org:81", ("https://example.org", "http://*.example.org:81")),
        (served_hosts, "hooks.example.org, .example.org,[::1],*", ("hooks.example.org", ".example.org", "[::1]", "*")),
        (host_names, "CI.internal", ("ci.internal",)),
        (sentry_dsn, "https://key@sentry.example.org/1", "https://key@sentry.example.org/1"),
        (sentry_dsn, "", ""),
        (url, "https://login.example.org/", "https://login.example.org/"),
        (readable, __file__, __file__),
    ],
)
def test_what_is_valid(parse: Callable[[str], object], text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (waits, "60,-1", "each must be at least 0"),
        (waits, "1e12", "each must be at least 0, and at most 36500 days"),
        (waits, "60,", "could not convert"),
        (level, "loud", "use DEBUG or INFO"),
        (public_url, "hooks.example.org", "it needs http:// or https://"),
        (public_url, "https:///hooks", "it needs http:// or https:// and a host"),
        (public_url, "https://example.org?x=1", "ends with the path"),
        (public_url, "https://example.org:99999", "Port out of range"),
        (origins, "example.org", "'example.org' needs http:// or https://"),
        (origins, "https://example.org/hooks", "without a path"),
        (served_hosts, "https://example.org", "must be a name alone"),
        (served_hosts, "example.org:443", "must be a name alone"),
        (served_hosts, "::1", "IPv6 is in brackets"),
        (served_hosts, "a.example b.example", "must be a name alone"),
        (host_names, "-1", "host"),
        (readable, "/nowhere/ca.pem", "it cannot be read: No such file or directory"),
        (readable, str(Path(__file__).parent), "it cannot be read: Is a directory"),
    ],
)
def test_what_is_not(parse: Callable[[str], object], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse(text)


def test_a_blank_variable_of_the_procfile_is_as_if_it_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", " ")
    monkeypatch.setenv("WEB_WORKERS", "3")

    found = procfile.environment()

    assert ("PORT" in found, found["WEB_WORKERS"]) == (False, "3")


def test_a_variable_that_is_no_setting_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict.fromkeys((*defaults_in_the_table(), *OTHERS), "1")
    monkeypatch.setattr("os.environ", known | {"HOOKHUB_TIMOUT": "5", "HOOKHUB_WEB_SERVICE_HOST": "10.0.0.1"})

    [found] = check_variables(None)

    assert (found.id, found.msg) == ("hookhub.W003", "HOOKHUB_TIMOUT is no setting of HookHub, and does nothing.")
    assert found.hint == "Is it HOOKHUB_TIMEOUT?"
