"""The chart of attempts over time, drawn by the server: its geometry as numbers, for a template of SVG.

The numbers are in the page as a table, too. Sizes are in the units of the drawing, which scales with the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal, Protocol

from django.http import HttpRequest
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext, gettext_lazy

from deliveries import timeseries
from deliveries.timeseries import Point, Step
from hookhub.formatting import number

WIDTH, HEIGHT = 720, 120
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
# The part of a step's width that its bar fills.
BAR_FILL = 0.8
# A bar of anything is at least this high, so that one failure among a million attempts is seen.
LEAST_HEIGHT = 1.5

Period = Literal["24h", "7d", "30d"]
PERIODS: dict[Period, tuple[timedelta, Step]] = {
    "24h": (timedelta(hours=24), "hour"),
    "7d": (timedelta(days=7), "hour"),
    "30d": (timedelta(days=30), "day"),
}
FAILURE_NAMES = {
    "redirects": "3xx",
    "client_errors": "4xx",
    "server_errors": "5xx",
    "timeouts": gettext_lazy("timeout"),
    "unreachable": gettext_lazy("unreachable"),
    "tls_errors": "TLS",
    "blocked": gettext_lazy("blocked"),
    "other": gettext_lazy("other"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One step: what was delivered, with what failed on top of it."""

    x: float
    width: float
    delivered_y: float
    delivered_height: float
    failed_y: float
    failed_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Latencies:
    """Response times over time: the points of two lines, p50 and p95, for an SVG polyline; ``most`` is at the top.

    A line is interrupted where no attempt got a response.
    """

    p50: list[str]
    p95: list[str]
    most: str


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The attempts of a day in small; ``rate`` is the part of them that delivered, or a dash for none.

    Its bars are drawn by two paths, because an overview has many of them.
    """

    delivered: str
    failed: str
    total: str
    rate: str
    width: int = SPARK_WIDTH
    height: int = SPARK_HEIGHT


@dataclass(frozen=True, slots=True)
class Chart:
    """Attempts over time, ``most`` of them in the highest bar.

    ``rows`` are the steps with any, for the table; ``begins`` and ``ends`` label the axis.
    """

    bars: list[Bar]
    total: str
    most: str
    begins: str
    ends: str
    rows: list[tuple[str, int, int, str, str]]
    counted_until: datetime | None
    latencies: Latencies | None
    width: int = WIDTH
    height: int = HEIGHT


class Series(Protocol):
    """Returns the points of a period; one of ``timeseries`` for a webhook or for organizations."""

    def __call__(self, *, after: datetime, before: datetime, step: Step) -> list[Point]:
        """Return a point for each step."""


def context_of(request: HttpRequest, series: Series, *, now: datetime) -> dict[str, object]:
    """Return the context of ``attempts_chart.html`` for the period in the address; the other periods are links."""
    period = read_period(request.GET.get("period"))
    length, step = PERIODS[period]
    points = series(after=now - length, before=now, step=step)
    return {
        "chart": draw(points, step=step, counted_until=timeseries.counted_until()),
        "period": period,
        "periods": [(other, "" if other == period else f"?period={other}") for other in PERIODS],
    }


def read_period(text: str | None) -> Period:
    """Return the period of that name, the shortest for any other text."""
    return next((period for period in PERIODS if period == text), "24h")


def draw(points: Sequence[Point], *, step: Step, counted_until: datetime | None) -> Chart:
    """Return the chart of these points, of which there is at least one."""
    most = max(point.attempts for point in points)
    length = WIDTH / len(points)
    return Chart(
        bars=[_bar(point, x=n * length, length=length, most=most, step=step) for n, point in enumerate(points)],
        total=_counts(sum(point.delivered for point in points), sum(map(_failed, points))),
        most=number(most) if most else "",
        begins=_label(points[0].at, step),
        ends=_label(points[-1].at, step),
        rows=[_row(point, step) for point in points if point.attempts],
        counted_until=counted_until,
        latencies=_latencies(points, length=length),
    )


def draw_sparkline(counts: Sequence[tuple[int, int]]) -> Sparkline:
    """Return the small chart of pairs of delivered and failed attempts, of which there is at least one."""
    delivered, failed = (sum(column) for column in zip(*counts, strict=True))
    most = max(sum(pair) for pair in counts)
    length = SPARK_WIDTH / len(counts)
    bars = [
        _stacked(*pair, x=n * length, length=length, most=most, height=SPARK_HEIGHT, title="")
        for n, pair in enumerate(counts)
    ]
    return Sparkline(
        delivered="".join(_rectangle(bar.x, bar.delivered_y, bar.width, bar.delivered_height) for bar in bars),
        failed="".join(_rectangle(bar.x, bar.failed_y, bar.width, bar.failed_height) for bar in bars),
        total=_counts(delivered, failed),
        rate=_rate(delivered, delivered + failed),
    )


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle as a part of an SVG path, or "" for one without height."""
    return f"M{x} {y}h{width}v{height}h{-width}z" if height else ""


def _bar(point: Point, *, x: float, length: float, most: int, step: Step) -> Bar:
    title = f"{_label(point.at, step)}: {_counts(point.delivered, _failed(point))}"
    if _failed(point):
        title = f"{title} ({_kinds(point)})"
    return _stacked(point.delivered, _failed(point), x=x, length=length, most=most, height=HEIGHT, title=title)


def _stacked(
    delivered_count: int, failed_count: int, *, x: float, length: float, most: int, height: int, title: str
) -> Bar:
    delivered = _height(delivered_count, most=most, height=height)
    failed = _height(failed_count, most=most, height=height)
    # The least height of the one may make both together higher than the drawing.
    if delivered > failed:
        delivered = min(delivered, height - failed)
    else:
        failed = min(failed, height - delivered)
    return Bar(
        x=round(x + length * (1 - BAR_FILL) / 2, 2),
        width=round(length * BAR_FILL, 2),
        delivered_y=round(height - delivered, 2),
        delivered_height=round(delivered, 2),
        failed_y=round(height - delivered - failed, 2),
        failed_height=round(failed, 2),
        title=title,
    )


def _height(count: int, *, most: int, height: int) -> float:
    return max(height * count / most, LEAST_HEIGHT) if count else 0.0


def _rate(delivered: int, attempts: int) -> str:
    """Return a part in percent, rounded down, so that 100 % means all."""
    if not attempts:
        return "–"
    tenths = delivered * 1000 // attempts
    return f"{tenths // 10} %" if tenths in {0, 1000} else f"{number_format(tenths / 10, 1)} %"


def _latencies(points: Sequence[Point], *, length: float) -> Latencies | None:
    """Return the lines of the response times, or None if no attempt got a response."""
    most = max((point.p95_ms for point in points if point.p95_ms is not None), default=None)
    if not most:
        return None
    return Latencies(
        p50=_lines([point.p50_ms for point in points], length=length, most=most),
        p95=_lines([point.p95_ms for point in points], length=length, most=most),
        most=f"{number(round(most))} ms",
    )


def _lines(values: Sequence[float | None], *, length: float, most: float) -> list[str]:
    """Return the points of each unbroken part of a line; a part of one point is as wide as a bar."""
    lines = []
    for has_value, part in groupby(enumerate(values), key=lambda each: each[1] is not None):
        if has_value:
            places = [(n * length + length / 2, HEIGHT - HEIGHT * (value or 0) / most) for n, value in part]
            if len(places) == 1:
                [(x, y)] = places
                places = [(x - length * BAR_FILL / 2, y), (x + length * BAR_FILL / 2, y)]
            lines.append(" ".join(f"{x:.2f},{y:.2f}" for x, y in places))
    return lines


def _row(point: Point, step: Step) -> tuple[str, int, int, str, str]:
    latencies = " / ".join("–" if ms is None else f"{number(round(ms))} ms" for ms in (point.p50_ms, point.p95_ms))
    return _label(point.at, step), point.delivered, _failed(point), _kinds(point), latencies


def _counts(delivered: int, failed: int) -> str:
    words = gettext("%(delivered)s delivered, %(failed)s failed")
    return words % {"delivered": number(delivered), "failed": number(failed)}


def _failed(point: Point) -> int:
    return point.attempts - point.delivered


def _kinds(point: Point) -> str:
    """Return the failures of a point by kind, such as ``3 timeout, 1 5xx``."""
    return ", ".join(f"{number(count)} {FAILURE_NAMES[kind]}" for kind, count in point.failed.items() if count)


def _label(at: datetime, step: Step) -> str:
    day = date_format(at, gettext("M j"))
    return day if step == "day" else f"{day}, {at:%H:%M}"
