"""Times keep their zone in a project without USE_TZ, where Django strips it from what it reads."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import models
from django.test import override_settings

from deliveries import timezone

BERLIN = "Europe/Berlin"


def read(moment: datetime | None, *, zone: str) -> datetime | None:
    """Return a value of the column as a project without USE_TZ in this time zone reads it."""
    connection: Any = SimpleNamespace(timezone=None, timezone_name=zone)
    [convert] = timezone.DateTimeField().get_db_converters(connection)
    converted: datetime | None = convert(moment, None, connection)
    return converted


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"])
@pytest.mark.parametrize("month", range(1, 13))
def test_a_time_is_read_as_it_was_stored_in_every_zone(zone: str, month: int) -> None:
    stored = datetime(2026, month, 25, 0, 30, 1, 234567, tzinfo=UTC)

    read_back = read(stored.astimezone(ZoneInfo(zone)).replace(tzinfo=None), zone=zone)

    assert read_back is not None
    assert (read_back, read_back.utcoffset()) == (stored, timedelta(0))


def test_the_hour_that_a_clock_repeats_is_read_as_the_one_that_was_stored() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)

    naive = [(first + timedelta(hours=n)).astimezone(ZoneInfo(BERLIN)).replace(tzinfo=None) for n in (0, 1)]

    assert naive[0] == naive[1]
    assert [read(each, zone=BERLIN) for each in naive] == [first, first + timedelta(hours=1)]


def test_nothing_is_read_as_nothing_and_with_use_tz_nothing_is_converted() -> None:
    assert read(None, zone=BERLIN) is None
    connection: Any = SimpleNamespace(timezone=UTC, timezone_name="UTC")
    assert timezone.DateTimeField().get_db_converters(connection) == []


def test_to_migrations_it_is_djangos_column() -> None:
    name, path, arguments, options = timezone.DateTimeField(null=True).deconstruct()

    assert (name, path, arguments, options) == models.DateTimeField(null=True).deconstruct()


def test_the_time_is_now_in_utc_and_a_naive_one_is_the_projects() -> None:
    before = datetime.now(UTC)
    with override_settings(USE_TZ=False, TIME_ZONE=BERLIN):
        assert before <= timezone.now() <= datetime.now(UTC)
        naive = datetime(2026, 7, 1, 12)  # noqa: DTZ001 - that is the point
        assert timezone.aware(naive) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert timezone.aware(before) is before
