"""The chart of attempts on pages of the admin, for the period that the address names."""

from datetime import datetime

from django.http import HttpRequest

from deliveries import timeseries
from hookhub import charts


def chart_context(request: HttpRequest, series: charts.Series, *, now: datetime) -> dict[str, object]:
    """Return the context of ``attempts_chart.html``."""
    return charts.context_of(request.GET.get("period"), series, counted_until=timeseries.counted_until(), now=now)
