"""The harness reports what invalidates a run, and ignores what is normal in one."""

import pytest

from chaos.checkers import validity
from chaos.history import Arrival, Interruption, Published, Webhook

STEADY = Webhook("/steady", ("*",), (1,), 3, is_healthy=True)
FLAKY = Webhook("/shaky", ("*",), (1,), 3, is_healthy=False)


def acknowledged(route: str, count: int) -> list[Published]:
    return [Published(f"{route}-{n}", "push", "abc", route, 1.0, "acknowledged", 1.1) for n in range(count)]  # type: ignore[arg-type]


def arrived(path: str, at: float) -> Arrival:
    return Arrival(at, path, "0190-a", "one", "abc", "valid", "200")


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 10.0),
        ([(12.0, 13.0)], 9.0),
        ([(15.0, 18.0), (12.0, 16.0), (12.5, 13.0)], 4.0),
        ([(5.0, 11.0), (19.0, 30.0)], 8.0),
        ([(1.0, 2.0), (30.0, 31.0)], 10.0),
        ([(0.0, 99.0)], 0.0),
    ],
    ids=["no fault", "one", "overlapping", "over the edges", "outside", "all of it"],
)
def test_only_the_time_in_which_nothing_was_in_the_way_counts(spans: list[tuple[float, float]], seconds: float) -> None:
    assert validity.undisturbed_seconds(10.0, 20.0, spans) == pytest.approx(seconds)


def test_a_door_through_which_hardly_anything_got_is_named() -> None:
    published = [*acknowledged("single", 23), *acknowledged("batch", 40), *acknowledged("stream", 16)]

    found = list(validity.starved_routes(published, {"single": 12, "batch": 2, "stream": 8}, seconds=10, share=0.2))

    assert found == ["'single' accepted 23 events; at least 24 are required"]
    assert (
        list(validity.starved_routes(published, {"single": 11, "batch": 2, "stream": 8}, seconds=10, share=0.2)) == []
    )


def test_a_request_of_the_batch_door_counts_for_ten_events() -> None:
    assert list(validity.starved_routes(acknowledged("batch", 39), {"batch": 2}, seconds=10, share=0.2)) == [
        "'batch' accepted 39 events; at least 40 are required"
    ]


def test_something_has_to_get_through_a_door_that_was_hardly_ever_open_and_refusals_do_not_count() -> None:
    rejected = [event._replace(outcome="rejected") for event in acknowledged("single", 50)]

    assert list(validity.starved_routes(rejected, {"single": 12}, seconds=0, share=0.2)) == [
        "'single' accepted 0 events; at least 1 are required"
    ]


def test_a_healthy_webhook_that_heard_of_nothing_is_named() -> None:
    assert list(validity.unreached_webhooks([arrived("/shaky", 1.0)], [STEADY, FLAKY])) == ["/steady received nothing"]
    assert list(validity.unreached_webhooks([arrived("/steady", 1.0)], [STEADY, FLAKY])) == []


def test_an_absence_in_which_no_healthy_webhook_heard_of_anything_proves_nothing() -> None:
    arrivals = [arrived("/steady", 1.0), arrived("/shaky", 5.0), arrived("/steady", 9.0)]

    assert list(validity.silent_outages(arrivals, [STEADY, FLAKY], [(2.0, 8.0), (0.5, 2.0)])) == [
        "nothing arrived during the 6.0 s in which a server was missing"
    ]


def test_kills_that_met_nothing_in_hand_prove_nothing() -> None:
    kills = [
        Interruption("killed", 1.0, 1.1, frozenset({"a", "b"}), is_kill=True),
        Interruption("killed", 2.0, 2.1, None, is_kill=True),
        Interruption("paused", 3.0, 9.0, frozenset({"c"}), is_kill=False),
    ]

    assert list(validity.idle_kills(kills, at_least=2)) == []
    assert list(validity.idle_kills(kills, at_least=3)) == [
        "the kills met 2 leased deliveries; at least 3 are required"
    ]


def test_a_rejection_of_a_valid_event_is_told_whatever_came_of_it() -> None:
    lines = [
        {"key": "a", "type": "push", "route": "single"},
        {"key": "a", "outcome": "acknowledged", "status": 202},
        {"key": "b", "outcome": "unknown", "status": None},
        {"key": "c", "outcome": "acknowledged", "status": 409},
        {"key": "d", "outcome": "rejected", "status": 422},
        {"key": "e", "outcome": "rejected", "status": 422},
        {"key": "f", "outcome": "unknown", "status": 503},
    ]

    assert list(validity.rejections(lines)) == [
        "1 valid events were rejected with 409, first c",
        "2 valid events were rejected with 422, first d",
    ]


TRACEBACK = "Traceback (most recent call last):\n  …\nValueError: no\n"


@pytest.mark.parametrize(
    ("ended_early", "was_killed", "code", "log", "told"),
    [
        (False, False, 0, "", []),
        (True, False, 0, "", ["a ended before it was stopped"]),
        (False, True, -9, "", ["a did not end when it was stopped"]),
        (False, False, 1, TRACEBACK, ["a exited with 1", "a failed: ValueError: no"]),
        (False, False, 0, TRACEBACK, ["a failed: ValueError: no"]),
    ],
    ids=["well", "ended early", "hung", "failed", "failed in a thread"],
)
def test_a_helper_that_did_not_do_its_work_is_told(
    ended_early: bool, was_killed: bool, code: int, log: str, told: list[str]
) -> None:
    found = validity.helper_failures("a", ended_early=ended_early, was_killed=was_killed, code=code, log=log)

    assert list(found) == told


def test_a_child_of_a_worker_that_nobody_killed_is_told() -> None:
    log = (
        "Process 'ForkPoolWorker-2' pid:14818 exited with 'signal 9 (SIGKILL)'\n"
        "Process 'ForkPoolWorker-3' pid:14819 exited with 'signal 11 (SIGSEGV)'\n"
    )

    assert list(validity.crashes("worker-2", log, killed={14818})) == [
        "a child of worker-2 exited unexpectedly: signal 11 (SIGSEGV)"
    ]


def test_a_process_of_the_web_server_that_nobody_killed_is_told() -> None:
    log = (
        "ERROR hookhub.http The web process 14 was killed by signal 9; another one starts\n"
        "ERROR hookhub.http The web process 15 was killed by signal 11; another one starts\n"
        "ERROR hookhub.http The web process 16 ended with status 1; another one starts\n"
    )

    assert list(validity.crashes("web", log, killed={14})) == [
        "a child of web exited unexpectedly: was killed by signal 11",
        "a child of web exited unexpectedly: ended with status 1",
    ]
