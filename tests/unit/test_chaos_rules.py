"""The fault harness's checker: a correct history passes, and each of the seven rules rejects a broken one."""

from dataclasses import replace
from typing import Any

import pytest

from chaos.checkers import rules, tolerances
from chaos.checkers.matching import match_pairs
from chaos.checkers.report import judge
from chaos.checkers.schedule import spread, steps
from chaos.history import Arrival, Attempt, Breach, Delivery, History, Interruption, Published, Webhook, matches

# Deliveries of one event: taken at once, taken at the second attempt, and never taken.
GOOD, AGAIN, NEVER = "0190-good", "0190-again", "0190-never"


def published(key: str = "one", **changed: Any) -> Published:
    return Published(key, "push", "abc", "single", 10.0, "acknowledged", 10.1)._replace(**changed)


def arrival(at: float, delivery: str = GOOD, **changed: Any) -> Arrival:
    return Arrival(at, "/good", delivery, "one", "abc", "valid", "200")._replace(**changed)


def owed(delivery: str = GOOD, **changed: Any) -> Delivery:
    return Delivery(delivery, "one", "/good", "delivered", "delivered", 1, has_lease=False)._replace(**changed)


def attempted(at: float, delivery: str = GOOD, **changed: Any) -> Attempt:
    return Attempt(delivery, 1, at, at + 0.1, "delivered", 200)._replace(**changed)


def killed(at: float, *leased: str, until: float = 0, **changed: Any) -> Interruption:
    return Interruption("killed", at, until or at, frozenset(leased), is_kill=True)._replace(**changed)


BOOKS = History(
    published=[published()],
    arrivals=[
        arrival(10.05),
        arrival(10.05, AGAIN, path="/again", answer="500"),
        arrival(11.2, AGAIN, path="/again"),
        arrival(10.05, NEVER, path="/never", answer="500"),
        arrival(11.2, NEVER, path="/never", answer="reset"),
    ],
    stored={"one": 10.0},
    deliveries=[
        owed(),
        owed(AGAIN, path="/again", attempts_made=2),
        owed(NEVER, path="/never", state="failed", finish_reason="exhausted", attempts_made=2),
    ],
    attempts=[
        attempted(10.0),
        attempted(10.0, AGAIN, outcome="failed", status=500),
        attempted(11.15, AGAIN, number=2),
        attempted(10.0, NEVER, outcome="failed", status=500),
        attempted(11.15, NEVER, number=2, outcome="no_response", status=None),
    ],
    webhooks=[
        Webhook("/good", ("*",), (1,), 3, is_healthy=True),
        Webhook("/again", ("push",), (1,), 3, is_healthy=False),
        Webhook("/never", ("push",), (1,), 3, is_healthy=False),
        Webhook("/other", ("issues",), (1,), 3, is_healthy=True),
    ],
    lease=6.0,
)
GOOD_ONE, *OTHERS = BOOKS.arrivals


def first_changed(kind: str, **changed: Any) -> History:
    """Return the history with the first row of a kind changed; it is about the webhook that takes the event at once."""
    first, *others = getattr(BOOKS, kind)
    return replace(BOOKS, **{kind: [first._replace(**changed), *others]})


def without_first(kind: str) -> list[Any]:
    return list(getattr(BOOKS, kind)[1:])


def retried(**changed: Any) -> History:
    """Return the history with a changed second attempt of the webhook that takes the event then."""
    attempts = list(BOOKS.attempts)
    attempts[2] = attempts[2]._replace(**changed)
    return replace(BOOKS, attempts=attempts)


def with_first_again(*interruptions: Interruption, at: float = 17.0) -> History:
    """Return the history with a second request that was taken, and its attempt."""
    return replace(
        BOOKS,
        arrivals=[*BOOKS.arrivals, arrival(at)],
        attempts=[*BOOKS.attempts, attempted(at - 0.01, number=2)],
        deliveries=[owed(attempts_made=2), *without_first("deliveries")],
        interruptions=interruptions,
    )


def test_books_that_are_right_break_no_rule() -> None:
    assert rules.check(BOOKS) == []


DISABLED = Webhook("/doomed", ("*",), (1,), 3, is_healthy=False, disabled_at=11.0)

BROKEN = {
    # 1: an accepted event arrives, or is failed or held with all its attempts on record.
    "an acknowledged event that is not stored": (
        1,
        replace(BOOKS, published=[published(), published("two")]),
        "two to /good: acknowledged, but it has no delivery",
    ),
    "an event that was accepted before its webhook was disabled": (
        1,
        replace(BOOKS, webhooks=[*BOOKS.webhooks, DISABLED]),
        "one to /doomed: acknowledged, but it has no delivery",
    ),
    "an event stored without an answer to its publisher": (
        1,
        replace(BOOKS, published=[published(), published("two", outcome="unknown")], stored={"one": 10.0, "two": 10.0}),
        "two to /good: unknown, but it has no delivery",
    ),
    "a webhook without its delivery": (
        1,
        replace(BOOKS, arrivals=OTHERS, deliveries=without_first("deliveries"), attempts=without_first("attempts")),
        "one to /good: acknowledged, but it has no delivery",
    ),
    "a delivery that still waits": (
        1,
        replace(BOOKS, arrivals=OTHERS, deliveries=[owed(state="pending"), *without_first("deliveries")]),
        "one to /good: pending, but never received",
    ),
    "a delivered delivery that never arrived": (
        1,
        replace(BOOKS, arrivals=OTHERS),
        "one to /good: delivered, but never received",
    ),
    "a delivery failed before its schedule is used up": (
        1,
        replace(
            BOOKS,
            arrivals=[arrival(10.05, answer="500"), *OTHERS],
            deliveries=[owed(state="failed", finish_reason="exhausted"), *without_first("deliveries")],
            attempts=[attempted(10.0, outcome="failed", status=500), *without_first("attempts")],
        ),
        "one to /good: failed as exhausted after 1 of 2 failures and 0 lost leases",
    ),
    "a failed delivery without its attempts": (
        1,
        replace(
            BOOKS,
            arrivals=[arrival(10.05, answer="500"), *OTHERS],
            deliveries=[owed(state="failed", finish_reason="poison", attempts_made=5), *without_first("deliveries")],
            attempts=[attempted(10.0, outcome="failed", status=500), *without_first("attempts")],
        ),
        "one to /good: failed, with 1 attempts on record instead of 5",
    ),
    "a delivery held for a webhook that is active": (
        1,
        replace(BOOKS, arrivals=OTHERS, deliveries=[owed(state="held", attempts_made=0), *without_first("deliveries")]),
        "one to /good: held, but the webhook is active",
    ),
    "a receiver that accepts everything, and a failed delivery": (
        1,
        replace(
            BOOKS,
            arrivals=OTHERS,
            deliveries=[owed(state="failed", finish_reason="exhausted", attempts_made=2), *without_first("deliveries")],
            attempts=[
                attempted(10.0, outcome="no_response", status=None),
                attempted(11.2, number=2, outcome="no_response", status=None),
                *without_first("attempts"),
            ],
        ),
        "one to /good: failed as exhausted, but the receiver accepts everything",
    ),
    "a step used up by an attempt with unknown outcome": (
        1,
        replace(
            BOOKS,
            attempts=[*BOOKS.attempts[:4], attempted(11.15, NEVER, number=2, outcome="unknown", status=None)],
        ),
        "one to /never: failed as exhausted after 1 of 2 failures and 1 lost leases",
    ),
    "a poison message that killed no worker": (
        1,
        replace(
            BOOKS,
            deliveries=[
                *BOOKS.deliveries[:2],
                owed(NEVER, path="/never", state="failed", finish_reason="poison", attempts_made=2),
            ],
        ),
        "one to /never: failed as poison after 2 of 2 failures and 0 lost leases",
    ),
    "a delivery finished as gone without a 410": (
        1,
        replace(
            BOOKS,
            deliveries=[
                *BOOKS.deliveries[:2],
                owed(NEVER, path="/never", state="failed", finish_reason="gone", attempts_made=2),
            ],
        ),
        "one to /never: failed as gone after 2 of 2 failures and 0 lost leases",
    ),
    "a webhook disabled by mistake": (
        1,
        first_changed("webhooks", disabled_at=10.05),
        "/good: disabled, but auto-disable is off",
    ),
    "a webhook disabled before its schedule can have failed": (
        1,
        replace(BOOKS, webhooks=[*BOOKS.webhooks[:2], BOOKS.webhooks[2]._replace(disabled_at=10.5, auto_disable=True)]),
        "/never: disabled after only 0.4 s of failures",
    ),
    "a webhook that always fails and is never disabled": (
        1,
        replace(BOOKS, webhooks=[*BOOKS.webhooks[:2], BOOKS.webhooks[2]._replace(auto_disable=True)]),
        "/never: a delivery was exhausted, but the webhook is still active",
    ),
    # 2: nothing arrives that was not published; the bytes are the same, and signed.
    "an event that was not published": (
        2,
        first_changed("arrivals", key="stranger"),
        "/good received stranger, which was not published",
    ),
    "an event that was rejected": (
        2,
        first_changed("published", outcome="rejected"),
        "/good received one, whose publishing was rejected",
    ),
    "other bytes": (2, first_changed("arrivals", sha="xyz"), "/good received one with different bytes"),
    "a wrong signature": (
        2,
        first_changed("arrivals", signature="invalid: no match"),
        "/good received one with a bad signature: invalid: no match",
    ),
    "an event for another webhook": (
        2,
        first_changed("arrivals", path="/other"),
        "/other received one, to which it is not subscribed",
    ),
    "an event under another delivery's id": (
        2,
        replace(
            BOOKS,
            published=[published(), published("two")],
            stored={"one": 10.0, "two": 10.0},
            arrivals=[*BOOKS.arrivals, arrival(10.05, "0190-two")],
            deliveries=[*BOOKS.deliveries, owed("0190-two", key="two")],
            attempts=[*BOOKS.attempts, attempted(10.0, "0190-two")],
        ),
        "/good received one under the id of another delivery, 0190-two",
    ),
    "an event that was stored again under another key": (
        2,
        replace(BOOKS, deliveries=[*BOOKS.deliveries, owed("0190-two", key="")]),
        "delivery 0190-two (/good) is of an unknown event, which was not published",
    ),
    # 3: each request has its attempt, each success its request.
    "a request that is in no attempt": (
        3,
        replace(BOOKS, attempts=without_first("attempts")),
        f"{GOOD}: the request to /good at 10.050 has no attempt",
    ),
    "one attempt and two requests": (
        3,
        replace(BOOKS, arrivals=[*BOOKS.arrivals, arrival(10.06)]),
        f"{GOOD}: the request to /good at 10.060 has no attempt",
    ),
    "a request before its attempt": (
        3,
        first_changed("arrivals", at=9.0),
        f"{GOOD}: the request to /good at 9.000 has no attempt",
    ),
    "a success without a request": (
        3,
        replace(BOOKS, arrivals=OTHERS),
        f"{GOOD}: attempt 1 is delivered, but no request of it arrived",
    ),
    "an answer without a request": (
        3,
        replace(BOOKS, arrivals=[one for one in BOOKS.arrivals if one.at > 11 or one.delivery != AGAIN]),
        f"{AGAIN}: attempt 1 is failed, but no request of it arrived",
    ),
    "an attempt without response that was never sent": (
        3,
        replace(BOOKS, arrivals=[*BOOKS.arrivals[:4]]),
        f"{NEVER}: attempt 2 is no_response, but no request of it arrived",
    ),
    "a request long after its attempt, without a fault": (
        3,
        first_changed("arrivals", at=13.0),
        f"{GOOD}: the request to /good at 13.000 has no attempt",
    ),
    "a second request long after one that was reset": (
        3,
        replace(BOOKS, arrivals=[*BOOKS.arrivals, arrival(14.0, NEVER, path="/never", answer="500")]),
        f"{NEVER}: the request to /never at 14.000 has no attempt",
    ),
    # 4: only what was in flight at a kill is duplicated.
    "twice under two ids": (
        4,
        replace(
            BOOKS,
            arrivals=[*BOOKS.arrivals, arrival(10.3, "0190-two")],
            deliveries=[*BOOKS.deliveries, owed("0190-two")],
            attempts=[*BOOKS.attempts, attempted(10.25, "0190-two")],
        ),
        "one was accepted 2 times by /good, but interrupted only 0 times",
    ),
    "twice, and killed long after it should have been settled": (
        4,
        with_first_again(killed(11.5, GOOD)),
        "one was accepted 2 times by /good, but interrupted only 0 times",
    ),
    "twice without a kill": (4, with_first_again(), "one was accepted 2 times by /good, but interrupted only 0 times"),
    "twice, and what was killed held something else": (
        4,
        with_first_again(killed(10.1, AGAIN)),
        "one was accepted 2 times by /good, but interrupted only 0 times",
    ),
    "twice, and killed long afterwards": (
        4,
        with_first_again(killed(15, GOOD)),
        "one was accepted 2 times by /good, but interrupted only 0 times",
    ),
    "failed before the pause, accepted from another worker during it, and again after it": (
        4,
        replace(
            BOOKS,
            arrivals=[arrival(5.0, answer="500"), *BOOKS.arrivals, arrival(12.5)],
            attempts=[
                attempted(4.9, outcome="failed", status=500),
                attempted(10.0, number=2),
                attempted(12.4, number=3),
                *without_first("attempts"),
            ],
            deliveries=[owed(attempts_made=3), *without_first("deliveries")],
            interruptions=[killed(5.2, GOOD, until=12.3, is_kill=False)],
        ),
        "one was accepted 2 times by /good, but interrupted only 0 times",
    ),
    # 5: no retry is early, or much too late.
    "an early retry": (
        5,
        retried(started_at=10.6, ended_at=10.7),
        f"{AGAIN} (/again): attempt 2 came 0.500 s after attempt 1, before the scheduled 1 s",
    ),
    "a retry that the receiver saw too early": (
        5,
        replace(BOOKS, arrivals=[*BOOKS.arrivals[:2], arrival(10.905, AGAIN, path="/again"), *BOOKS.arrivals[3:]]),
        None,
    ),
    "a late retry": (
        5,
        replace(
            retried(started_at=20.0, ended_at=20.1),
            arrivals=[*BOOKS.arrivals[:2], arrival(20.05, AGAIN, path="/again"), *BOOKS.arrivals[3:]],
        ),
        f"{AGAIN}: attempt 2 came 9.900 s after attempt 1; the limit is 6.1 s",
    ),
    "a second failure that is retried after the first step": (
        5,
        replace(
            BOOKS,
            webhooks=[*BOOKS.webhooks[:2], BOOKS.webhooks[2]._replace(schedule=(1, 3)), BOOKS.webhooks[3]],
            deliveries=[*BOOKS.deliveries[:2], BOOKS.deliveries[2]._replace(attempts_made=3)],
            attempts=[*BOOKS.attempts, attempted(12.3, NEVER, number=3, outcome="failed", status=500)],
            arrivals=[*BOOKS.arrivals, arrival(12.35, NEVER, path="/never", answer="500")],
        ),
        f"{NEVER} (/never): attempt 3 came 1.050 s after attempt 2, before the scheduled 3 s",
    ),
    "a retry after a slow answer, counted from its request": (
        5,
        replace(
            BOOKS,
            arrivals=[*BOOKS.arrivals[:1], BOOKS.arrivals[1]._replace(answer="slow-500"), *BOOKS.arrivals[2:]],
        ),
        f"{AGAIN} (/again): attempt 2 came 0.150 s after attempt 1, before the scheduled 1 s",
    ),
    "an attempt with unknown outcome, repeated long after its lease": (
        5,
        replace(
            BOOKS,
            attempts=[
                attempted(10.0, outcome="unknown", ended_at=None, status=None),
                attempted(22.0, number=2),
                *without_first("attempts"),
            ],
            deliveries=[owed(attempts_made=2), *without_first("deliveries")],
        ),
        f"{GOOD}: attempt 2 came 12.000 s after attempt 1; the limit is 11.0 s",
    ),
    "a retry that Redis was no reason to delay": (
        5,
        replace(
            retried(started_at=20.0, ended_at=20.1),
            arrivals=[*BOOKS.arrivals[:2], arrival(20.05, AGAIN, path="/again"), *BOOKS.arrivals[3:]],
            interruptions=[killed(11.0, until=19.5, kind="redis")],
        ),
        f"{AGAIN}: attempt 2 came 9.900 s after attempt 1; the limit is 6.1 s",
    ),
    # 6: the system is quiescent at the end.
    "something still being sent": (
        6,
        first_changed("deliveries", state="sending"),
        f"delivery {GOOD} (/good) is still sending",
    ),
    "something pending": (6, first_changed("deliveries", state="pending"), f"delivery {GOOD} (/good) is still pending"),
    "a lease that is left": (
        6,
        first_changed("deliveries", has_lease=True),
        f"delivery {GOOD} (/good) still has a lease",
    ),
    "an attempt that is counted and not in the log": (
        6,
        first_changed("deliveries", attempts_made=2),
        f"delivery {GOOD} (/good) counts 2 attempts, but the log has [1]",
    ),
    "two deliveries of one event to one webhook": (
        6,
        replace(BOOKS, deliveries=[*BOOKS.deliveries, owed(NEVER)]),
        "one has two deliveries to /good",
    ),
    "a ledger with a violation": (6, replace(BOOKS, ledger=["a fault"]), "check_ledger: a fault"),
    # 7: no event is late, where a scenario demands promptness.
    "events that take their time": (
        7,
        replace(first_changed("arrivals", at=10.9), prompt_within=0.5),
        "the median latency is 0.800 s; the limit is 0.5 s",
    ),
    "one late event": (
        7,
        first_changed("arrivals", at=16.0),
        "one reached /good after 5.9 s; the limit is 5.0 s",
    ),
    "nothing at all": (
        7,
        replace(BOOKS, arrivals=OTHERS, prompt_within=0.5),
        "nothing arrived at a healthy webhook",
    ),
}


@pytest.mark.parametrize(("rule", "history", "what"), BROKEN.values(), ids=BROKEN)
def test_each_rule_notices_what_breaks_it(rule: int, history: History, what: str | None) -> None:
    found = rules.check(history)

    if what is None:
        assert [breach for breach in found if breach.rule == rule] == []
    else:
        assert Breach(rule, what) in found


EXCUSED = {
    "a rejected event needs no delivery": replace(BOOKS, published=[published(), published("two", outcome="rejected")]),
    "an event with unknown outcome may be missing": replace(
        BOOKS, published=[published(), published("two", outcome="unknown")]
    ),
    "an entry that Redis lost before a worker could store it": replace(
        BOOKS, published=[published(), published("two", route="stream")], forgotten_at=[12.0], stored_within=5.0
    ),
    "an event accepted after the webhook was disabled": replace(
        BOOKS,
        webhooks=[
            BOOKS.webhooks[0]._replace(topics=("push",)),
            *BOOKS.webhooks[1:],
            DISABLED._replace(disabled_at=4.0, auto_disable=True),
        ],
        published=[published(), published("old", type="tag", at=1.0, answered_at=1.1)],
        stored={"one": 10.0, "old": 1.0},
        deliveries=[
            *BOOKS.deliveries,
            owed("0190-doom", key="old", path="/doomed", state="failed", finish_reason="exhausted", attempts_made=2),
        ],
        arrivals=[arrival(at, "0190-doom", key="old", path="/doomed", answer="500") for at in (1.1, 2.2)]
        + BOOKS.arrivals,
        attempts=[
            *BOOKS.attempts,
            attempted(1.05, "0190-doom", outcome="failed", status=500),
            attempted(2.15, "0190-doom", number=2, outcome="failed", status=500),
        ],
    ),
    "a request in flight at a kill, and the repeat of it": with_first_again(killed(10.2, GOOD)),
    "a request in flight when the network was cut": with_first_again(
        Interruption("cut", 10.0, 11.0, None, is_kill=False)
    ),
    "the late request of a worker that was paused": replace(
        BOOKS,
        arrivals=[*BOOKS.arrivals, arrival(17.1)],
        attempts=[attempted(9.0, ended_at=17.2), attempted(10.0, number=2), *without_first("attempts")],
        deliveries=[owed(attempts_made=2), *without_first("deliveries")],
        interruptions=[killed(9.1, GOOD, until=17.0, is_kill=False)],
    ),
    "an event delayed by a dead worker's lease": replace(
        first_changed("arrivals", at=18.0),
        attempts=[attempted(17.9), *without_first("attempts")],
        interruptions=[killed(10.1, GOOD)],
    ),
    "an event of the stream stored by a worker with a wrong clock": replace(
        BOOKS, published=[published(route="stream")], stored={"one": 10.0 - 3600}
    ),
    "an event still on its way when its publisher gave up": replace(
        BOOKS, published=[published(at=1.0, outcome="unknown", answered_at=3.0)]
    ),
    "a request that an outage kept from being settled": with_first_again(
        killed(10.2, until=13.0, kind="database"), killed(13.1, GOOD)
    ),
    "an attempt halted before its request, and lost": replace(
        BOOKS, arrivals=[*BOOKS.arrivals[:4]], interruptions=[killed(11.2, NEVER, until=11.3, is_kill=False)]
    ),
    "a retry delayed by an outage": replace(
        retried(started_at=20.0, ended_at=20.1),
        arrivals=[*BOOKS.arrivals[:2], arrival(20.05, AGAIN, path="/again"), *BOOKS.arrivals[3:]],
        interruptions=[killed(11.0, until=19.5)],
    ),
    "an attempt with unknown outcome, repeated at once": replace(
        BOOKS,
        arrivals=[GOOD_ONE, arrival(10.3), *OTHERS],
        attempts=[
            attempted(10.0, outcome="unknown", ended_at=None, status=None),
            attempted(10.25, number=2),
            *without_first("attempts"),
        ],
        deliveries=[owed(attempts_made=2), *without_first("deliveries")],
        interruptions=[killed(10.1, GOOD)],
    ),
    "a request that libcurl repeated because the connection broke": replace(
        BOOKS, arrivals=[arrival(10.04, answer="reset"), *BOOKS.arrivals]
    ),
}


@pytest.mark.parametrize("history", EXCUSED.values(), ids=EXCUSED)
def test_what_is_not_promised_is_not_held_against_anybody(history: History) -> None:
    assert rules.check(history) == []


def test_what_redis_forgot_long_after_it_should_have_been_stored_is_lost() -> None:
    books = replace(
        BOOKS, published=[published(), published("two", route="stream")], forgotten_at=[15.0], stored_within=21.0
    )

    assert {breach.rule for breach in rules.check(books)} == {1}


def test_a_step_of_the_schedule_is_used_up_only_by_failures_that_are_clear() -> None:
    failed = attempted(1.0, outcome="failed", status=500)
    unknown = attempted(2.0, number=2, outcome="unknown", ended_at=None, status=None)
    again = attempted(2.2, number=3, outcome="no_response", status=None)
    overtaken = attempted(7.5, number=4, outcome="no_response", status=None, ended_at=20.0)
    after = attempted(14.0, number=5, outcome="no_response", status=None)
    last = attempted(16.0, number=6)

    found = [(one.number, following.number, step) for one, following, step in steps(
        [failed, unknown, again, overtaken, after, last], [1, 5, 25], lease=6.0
    )]  # fmt: skip

    assert found == [(1, 2, (1, 1)), (3, 4, (5, 5)), (5, 6, (1, 25))]


@pytest.mark.parametrize(("losses", "seconds"), [(0, 0.0), (1, 8.8), (2, 17.6)])
def test_a_delivery_that_is_lost_again_waits_for_what_its_id_says(losses: int, seconds: float) -> None:
    assert spread("01a22873-defc-7004-b9fb-a5d336d6aedc", losses=losses) == pytest.approx(seconds)


def test_what_was_in_the_way_twice_at_a_time_counts_once() -> None:
    both = [killed(10.0, until=14.0), killed(12.0, until=15.0), killed(11.0, until=12.0)]
    redis = [killed(0.0, until=99.0, kind="redis")]

    assert tolerances.interrupted_seconds(11.0, 20.0, both + redis) == 4.0
    assert tolerances.interrupted_seconds(20.0, 30.0, both + redis) == 0.0
    assert tolerances.interrupted_seconds(11.0, 20.0, redis, kinds=tolerances.DELAYING_ENTRIES) == 9.0


def test_requests_are_paired_so_that_every_attempt_that_needs_one_has_one() -> None:
    # The first attempt fits either request, the second only the first one.
    assert match_pairs([[True, True], [True, False]], first=[1]) == {0: 1, 1: 0}
    assert match_pairs([[True], [True]], first=[1]) == {0: 1}
    assert match_pairs([[False], [False]], first=[]) == {}
    assert match_pairs([], first=[]) == {}


@pytest.mark.parametrize(
    ("topics", "is_matching"),
    [(("*",), True), (("push",), True), (("push.a",), True), (("pus",), False), (("push.a.b",), False), ((), False)],
)
def test_the_harness_matches_topics_by_itself(topics: tuple[str, ...], is_matching: bool) -> None:
    assert matches(topics, "push.a") == is_matching


def test_the_figures_are_counted_from_the_records() -> None:
    verdict = judge(with_first_again(killed(10.2, GOOD)), scenario="books", seed=7, complaints=["does not stop"])

    assert verdict.figures == {
        "scenario": "books",
        "seed": 7,
        "accepted": 1,
        "unknown": 0,
        "delivered": 2,
        "failed": 1,
        "lost": 0,
        "duplicated": 1,
        "unexpected": 0,
        "kills": 1,
        "longest_gap_s": 0.0,
        "duplicates_allowed": 1,
        "p99_s": 0.05,
        "breaches": 1,
    }
    assert verdict.lines() == ["  harness: does not stop"]
