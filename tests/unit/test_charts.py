"""The chart of attempts: its bars fit the drawing, and every number in it can be read."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.timeseries import FAILURES, Point
from hookhub.charts import (
    FAILURE_NAMES,
    HEIGHT,
    LEAST_HEIGHT,
    SPARK_HEIGHT,
    SPARK_WIDTH,
    WIDTH,
    draw,
    draw_sparkline,
    read_period,
)

AT = datetime(2026, 3, 4, tzinfo=UTC)


def point(hours: int = 0, *, delivered: int = 0, **failed: int) -> Point:
    kinds = dict.fromkeys(FAILURES, 0) | failed
    return Point(AT + timedelta(hours=hours), delivered + sum(kinds.values()), delivered, kinds, 12.4, 1500.0, None)


def test_every_kind_of_failure_has_a_name() -> None:
    assert set(FAILURE_NAMES) == set(FAILURES)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=170))
def test_bars_fit_the_drawing_and_do_not_overlap(counts: list[tuple[int, int]]) -> None:
    points = [point(n, delivered=delivered, timeouts=failed) for n, (delivered, failed) in enumerate(counts)]

    chart = draw(points, step="hour", counted_until=None)

    assert len(chart.bars) == len(points)
    for n, bar in enumerate(chart.bars):
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH + 0.01
        assert bar.x + bar.width <= (n + 1) * WIDTH / len(points) + 0.01
        assert -LEAST_HEIGHT <= bar.failed_y <= bar.delivered_y <= HEIGHT
        assert bar.failed_y + bar.failed_height == pytest.approx(bar.delivered_y, abs=0.02)
        assert bool(bar.delivered_height) == bool(points[n].delivered)
        assert bool(bar.failed_height) == bool(points[n].failed["timeouts"])


def test_one_failure_among_a_million_is_seen() -> None:
    [bar] = draw([point(delivered=10**6, tls_errors=1)], step="hour", counted_until=None).bars

    assert bar.failed_height >= LEAST_HEIGHT
    assert bar.title == "Mar 4, 00:00: 1,000,000 delivered, 1 failed (1 TLS)"


def test_the_table_has_the_steps_with_any_attempts() -> None:
    points = [point(0), point(1, delivered=2, timeouts=3, server_errors=1), point(2)]

    chart = draw(points, step="hour", counted_until=AT)

    assert chart.rows == [("Mar 4, 01:00", 2, 4, "1 5xx, 3 timeout", "12 ms / 1,500 ms")]
    assert (chart.most, chart.total) == ("6", "2 delivered, 4 failed")
    assert (chart.begins, chart.ends) == ("Mar 4, 00:00", "Mar 4, 02:00")


def test_nothing_is_an_empty_chart() -> None:
    chart = draw([point(24 * n) for n in range(30)], step="day", counted_until=None)

    assert (chart.most, chart.rows, chart.begins, chart.ends) == ("", [], "Mar 4", "Apr 2")


@pytest.mark.parametrize(("text", "period"), [("7d", "7d"), ("30d", "30d"), (None, "24h"), ("", "24h"), ("<b>", "24h")])
def test_a_period_is_one_of_those_offered(text: str | None, period: str) -> None:
    assert read_period(text) == period


def test_the_lines_of_response_times_are_interrupted_where_there_was_no_response() -> None:
    responses = [(10.0, 40.0), (20.0, 80.0), (None, None), (40.0, 80.0)]
    points = [replace(point(n), p50_ms=p50, p95_ms=p95) for n, (p50, p95) in enumerate(responses)]

    found = draw(points, step="hour", counted_until=None).latencies

    assert found is not None
    assert found.most == "80 ms"
    assert found.p95 == ["90.00,60.00 270.00,0.00", "558.00,0.00 702.00,0.00"]
    assert found.p50 == ["90.00,105.00 270.00,90.00", "558.00,60.00 702.00,60.00"]


def test_without_any_response_there_are_no_lines() -> None:
    points = [replace(point(n, timeouts=1), p50_ms=None, p95_ms=None) for n in range(3)]
    assert draw(points, step="hour", counted_until=None).latencies is None


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=25))
def test_a_sparkline_fits_its_drawing(counts: list[tuple[int, int]]) -> None:
    line = draw_sparkline(counts)

    for path, column in ((line.delivered, 0), (line.failed, 1)):
        bars = [tuple(map(float, bar)) for bar in re.findall(r"M([-\d.]+) ([-\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z", path)]
        assert len(bars) == sum(1 for pair in counts if pair[column])
        for x, y, width, height in bars:
            assert 0 <= x <= x + width <= SPARK_WIDTH + 0.01
            assert -LEAST_HEIGHT <= y <= y + height <= SPARK_HEIGHT + 0.01


@pytest.mark.parametrize(
    ("delivered", "failed", "rate"),
    [(0, 0, "–"), (5, 0, "100 %"), (0, 5, "0 %"), (999_999, 1, "99.9 %"), (1, 2, "33.3 %"), (1, 9_999, "0 %")],
)
def test_all_is_said_only_of_all(delivered: int, failed: int, rate: str) -> None:
    line = draw_sparkline([(delivered, 0), (0, failed)])
    assert (line.rate, line.total) == (rate, f"{delivered:,} delivered, {failed:,} failed")
