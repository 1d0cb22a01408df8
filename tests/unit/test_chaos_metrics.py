"""The metrics of a scenario include events that never came, came late, or had no subscriber."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from chaos.checkers import metrics
from chaos.checkers.report import judge
from chaos.history import Arrival, History, Published, Webhook
from testbed.sampling import percentile


def published(key: str, at: float, **changed: Any) -> Published:
    return Published(key, "push", "abc", "single", at, "acknowledged", at + 0.1)._replace(**changed)


def arrival(key: str, at: float, **changed: Any) -> Arrival:
    return Arrival(at, "/good", f"0190-{key}", key, "abc", "valid", "200")._replace(**changed)


# Three events, a second apart, each of which arrives at once.
BOOKS = History(
    published=[published("a", 10), published("b", 11), published("c", 12)],
    arrivals=[arrival("a", 10.25), arrival("b", 11.25), arrival("c", 12.25)],
    stored={},
    deliveries=[],
    attempts=[],
    webhooks=[Webhook("/good", ("*",), (1,), 3, is_healthy=True), Webhook("/bad", ("*",), (1,), 3, is_healthy=False)],
)


def test_the_longest_gap_is_between_arrivals() -> None:
    assert metrics.longest_gap(BOOKS) == 1.0
    assert metrics.longest_gap(replace(BOOKS, arrivals=[BOOKS.arrivals[0], BOOKS.arrivals[2]])) == 1.75


def test_silence_before_the_first_arrival_is_a_gap() -> None:
    assert metrics.longest_gap(replace(BOOKS, arrivals=BOOKS.arrivals[1:])) == 1.25


def test_silence_after_the_last_arrival_is_a_gap() -> None:
    assert metrics.longest_gap(replace(BOOKS, arrivals=BOOKS.arrivals[:1])) == 1.75


def test_where_nothing_arrives_at_all_the_gap_is_as_long_as_events_were_published() -> None:
    assert metrics.longest_gap(replace(BOOKS, arrivals=[])) == 2.0


def test_what_comes_outside_the_time_of_publishing_makes_no_gap() -> None:
    late = [arrival("a", 3.0), *BOOKS.arrivals, arrival("b", 90.0)]

    assert metrics.longest_gap(replace(BOOKS, arrivals=late)) == 1.0


def test_where_nothing_is_published_or_nobody_is_healthy_there_is_no_gap() -> None:
    assert metrics.longest_gap(replace(BOOKS, published=[])) == 0.0
    assert metrics.longest_gap(replace(BOOKS, webhooks=BOOKS.webhooks[1:])) == 0.0


def test_an_event_that_its_publisher_had_to_repeat_waits_from_the_first_try_on() -> None:
    patient = replace(BOOKS, published=[published("a", 6, answered_at=10.0), *BOOKS.published[1:]])

    assert metrics.waits(patient) == [4.25, 0.25, 0.25]
    # HookHub's own part of the latency begins with the answer.
    assert metrics.delays(patient) == pytest.approx([0.25, 0.15, 0.15])


def test_an_event_that_never_arrives_waits_for_ever() -> None:
    assert metrics.waits(replace(BOOKS, arrivals=BOOKS.arrivals[1:])) == [math.inf, 0.25, 0.25]


ACCEPTED = {
    "acknowledged": (published("b", 11), {}, True),
    "unknown to its publisher, and stored": (published("b", 11, outcome="unknown"), {"b": 11.0}, True),
    "unknown to its publisher": (published("b", 11, outcome="unknown"), {}, False),
    "rejected": (published("b", 11, outcome="rejected"), {}, False),
    "acknowledged by Redis only": (published("b", 11, route="stream"), {}, False),
    "stored from the stream": (published("b", 11, route="stream"), {"b": 11.0}, True),
    "outside the webhook's subscription": (published("b", 11, type="issues"), {}, False),
}


@pytest.mark.parametrize(("event", "stored", "is_counted"), ACCEPTED.values(), ids=ACCEPTED)
def test_only_what_hookhub_accepted_can_be_waited_for(
    event: Published, stored: dict[str, float], is_counted: bool
) -> None:
    webhooks = [Webhook("/good", ("push",), (1,), 3, is_healthy=True)]

    found = metrics.waits(replace(BOOKS, published=[event], stored=stored, webhooks=webhooks, arrivals=[]))

    assert found == [math.inf] * is_counted


def test_a_wait_without_an_end_is_null_in_the_line_of_json() -> None:
    verdict = judge(replace(BOOKS, arrivals=[]), scenario="books", seed=7)

    assert json.loads(verdict.line(), parse_constant=pytest.fail)["p99_s"] is None
    assert judge(BOOKS, scenario="books", seed=7).figures["p99_s"] == 0.25


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 99) == 0.0
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, math.inf], 99) == math.inf
