"""The chart of attempts on pages of the admin, for a period that the address names."""

from datetime import datetime
from typing import Protocol

from django.http import HttpRequest
from django.utils.http import urlencode

from deliveries import timeseries
from deliveries.timeseries import Point, Step
from hookhub import charts
from hookhub.charts import PERIODS

PARAMETER = "period"


class Series(Protocol):
    """Returns the points of a period; one of ``timeseries`` for a webhook or for organizations."""

    def __call__(self, *, after: datetime, before: datetime, step: Step) -> list[Point]:
        """Return a point for each step."""


def chart_context(request: HttpRequest, series: Series, *, now: datetime) -> dict[str, object]:
    """Return the context of ``attempts_chart.html``; each period is a link but the one that is shown."""
    period = charts.read_period(request.GET.get(PARAMETER))
    length, step = PERIODS[period]
    points = series(after=now - length, before=now, step=step)
    return {
        "chart": charts.draw(points, step=step, counted_until=timeseries.counted_until()),
        "period": period,
        "periods": [(name, "" if name == period else f"?{urlencode({PARAMETER: name})}") for name in PERIODS],
    }
