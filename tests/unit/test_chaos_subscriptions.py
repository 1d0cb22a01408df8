"""The fault harness's rule about subscriptions: a correct history passes, and each broken one is rejected."""

import json
from dataclasses import replace
from typing import Any

import pytest

from chaos.checkers.rules import check
from chaos.checkers.subscriptions import gather, untested_subscriptions, wrong_subscriptions
from chaos.history import History, Interruption, Note, Published, Seen, read_notes
from chaos.workload.events import GROUP, GROUPS, group_of, make
from chaos.workload.lives import KINDS, LASTING, LONG_SECONDS, PACED_SECONDS, SHORT_SECONDS, life, wanted_group
from chaos.workload.subscriber import signed_with

HOSTS = ("127.0.0.1", "127.0.0.2")


def published(key: str, at: float) -> Published:
    return Published(key, "push.a", "abc", "single", at, "acknowledged", at + 0.1)


def note(what: str, at: float, path: str = "/kept", **details: Any) -> Note:
    return Note(what, path, at, **details)


def update(key: str, at: float, path: str = "/kept", **details: Any) -> Note:
    return note("update", at, path, **{"key": key, "signature": "none", "answer": "200", **details})


def made(path: str, kind: str, *, lease: int = LONG_SECONDS, secret: int | None = None) -> list[Note]:
    """Return the notes of a subscription that is asked for at 10 and proved at 11."""
    return [
        note("life", 10, path, kind=kind),
        note("ask", 10, path, mode="subscribe", lease=lease, secret=secret),
        note("answer", 10.1, path, mode="subscribe", lease=lease, secret=secret, status=202),
        note("question", 11, path, mode="subscribe", echoed=True),
    ]


def seen(at: float, path: str = "/kept", *, ends: float | None = 5000, deleted_at: float | None = None) -> Seen:
    return Seen(1, path, at, at - 0.1, ends, deleted_at)


KEPT = History(
    published=[published("early", 9), published("one", 12)],
    arrivals=[],
    stored={"one": 12.0},
    deliveries=[],
    attempts=[],
    webhooks=[],
    notes=[*made("/kept", "kept"), update("one", 12.2)],
    seen=[seen(11.2)],
)
# Signed with the first secret until the second is proved at 14.
RENEWED = replace(
    KEPT,
    notes=[
        *made("/kept", "renewed", secret=0),
        update("one", 12.2, signature="0"),
        note("ask", 13, mode="subscribe", secret=1),
        note("answer", 13.1, mode="subscribe", secret=1, status=202),
        note("question", 14, mode="subscribe", echoed=True),
        update("two", 15.2, signature="1"),
    ],
    published=[published("one", 12), published("two", 15)],
    seen=[seen(11.2), seen(14.2)],
)
BRIEF = replace(
    KEPT,
    notes=[*made("/kept", "brief", lease=SHORT_SECONDS), update("one", 12.2)],
    seen=[seen(11.2, ends=15.0), Seen(1, "/kept", 16.0, 11.1, 15.0, 15.9)],
)
UNSUBSCRIBED = replace(
    KEPT,
    notes=[
        *made("/kept", "unsubscribed"),
        update("one", 12.2),
        note("ask", 30, mode="unsubscribe"),
        note("answer", 30.1, mode="unsubscribe", status=202),
        note("question", 31, mode="unsubscribe", echoed=True),
    ],
    seen=[seen(11.2), Seen(1, "/kept", 31.2, 11.1, 5000, 31.1)],
)
# The filter of the path with the number 0 accepts the group 0, which has the events whose number three divides.
FILTERED = replace(
    KEPT,
    notes=[*made("/0", "native-filtered", secret=0), update("one-3", 12.2, "/0", signature="0")],
    published=[published("one-3", 12), published("one-4", 12)],
    seen=[seen(11.2, "/0")],
)
# A request every one and a half seconds, instead of two, is made up for by what may come at once.
PACED = replace(
    KEPT,
    notes=[
        *made("/0", "paced", lease=PACED_SECONDS, secret=0),
        *(update(f"one-{number}", 12 + number * 1.5, "/0", signature="0") for number in range(8)),
    ],
    published=[published(f"one-{number}", 12) for number in range(20)],
    seen=[seen(11.2, "/0", ends=27.0)],
)


@pytest.mark.parametrize("history", [KEPT, RENEWED, BRIEF, UNSUBSCRIBED, FILTERED, PACED])
def test_what_ought_to_happen_breaks_no_rule(history: History) -> None:
    assert check(history) == []


@pytest.mark.parametrize(
    ("history", "more", "wrong"),
    [
        pytest.param(KEPT, update("early", 10.9), "without having echoed", id="before the echo"),
        pytest.param(KEPT, update("one", 12, "/mute"), "without having echoed", id="never echoed"),
        pytest.param(BRIEF, update("one", 16.5), "1.5 s after its lease had ended", id="after the lease"),
        pytest.param(UNSUBSCRIBED, update("one", 32.5), "1.3 s after it was deleted", id="after the end"),
        pytest.param(KEPT, note("denied", 11.5), "after it was deleted", id="told so before"),
        pytest.param(RENEWED, update("two", 13.5, signature="1"), "had not proved", id="secret too early"),
        pytest.param(RENEWED, update("two", 15.5, signature="0"), "it had replaced", id="secret too late"),
        pytest.param(KEPT, update("one", 12.3, signature="invalid"), "signature of invalid", id="bad signature"),
        pytest.param(KEPT, update("one", 12.3, signature="0"), "signature of 0 instead of none", id="signed unasked"),
    ],
)  # fmt: skip
def test_an_update_that_must_not_come_is_found(history: History, more: Note, wrong: str) -> None:
    # What is told at 11.5 is wrong only for the update that came long after.
    late = [update("one", 13)] if more.what == "denied" else []
    problems = list(wrong_subscriptions(replace(history, notes=[*history.notes, more, *late])))
    assert [problem for problem in problems if wrong in problem]


def test_an_event_that_a_filter_rejects_is_found_and_so_is_one_that_it_accepts_and_that_is_missed() -> None:
    more = replace(FILTERED, notes=[*FILTERED.notes, update("one-4", 12.3, "/0", signature="0")])
    assert list(wrong_subscriptions(more)) == ["/0 got one-4, which its filter rejects"]
    less = replace(FILTERED, notes=[one for one in FILTERED.notes if one.what != "update"])
    assert list(wrong_subscriptions(less)) == ["/0 missed one-3, published 0.8 s after it was proved"]


def test_requests_beyond_the_pace_of_an_allowed_rate_are_found_unless_the_machine_had_stalled() -> None:
    *others, last = PACED.notes
    hasty = replace(PACED, notes=[*others, last._replace(at=21.1), last._replace(at=21.2), last._replace(at=21.3)])
    assert list(wrong_subscriptions(hasty)) == ["/0 got 8 requests within 9.1 s, but allows 30 a minute"]
    stalled = replace(hasty, interruptions=[Interruption("stalled", 16, 21, None, is_kill=False, kind="machine")])
    assert list(wrong_subscriptions(stalled)) == []


def test_a_request_that_was_on_its_way_is_no_violation() -> None:
    assert list(wrong_subscriptions(replace(BRIEF, notes=[*BRIEF.notes, update("one", 15.9)]))) == []
    halted = Interruption("killed", 15.0, 18.0, frozenset(), is_kill=True)
    late = replace(BRIEF, notes=[*BRIEF.notes, update("one", 18.9)], interruptions=[halted])
    assert [problem for problem in wrong_subscriptions(late) if "lease" in problem] == []


@pytest.mark.parametrize("history", [KEPT, RENEWED, UNSUBSCRIBED])
def test_a_missed_event_is_found(history: History) -> None:
    missing = replace(history, notes=[one for one in history.notes if one.key != "one"])
    assert list(wrong_subscriptions(missing)) == ["/kept missed one, published 0.8 s after it was proved"]
    rejected = [one._replace(answer="500") if one.key == "one" else one for one in history.notes]
    assert list(wrong_subscriptions(replace(history, notes=rejected))) != []


def test_what_was_published_before_the_proof_or_around_the_end_may_be_missed() -> None:
    around = replace(UNSUBSCRIBED, published=[*UNSUBSCRIBED.published, published("late", 25)])
    assert list(wrong_subscriptions(around)) == []


def test_a_subscription_that_vanishes_is_found() -> None:
    gone = replace(KEPT, seen=[*KEPT.seen, Seen(1, "/kept", 20, 11.1, 5000, 19.9)])
    assert list(wrong_subscriptions(gone)) == ["/kept was deleted, although nobody had asked for that"]


def test_one_that_is_made_again_after_its_end_is_another() -> None:
    again = Seen(2, "/kept", 20.2, 20.1, 5000, None)
    asked = [note("ask", 18, mode="subscribe"), note("answer", 18.1, mode="subscribe", status=202)]
    echoed = note("question", 20, mode="subscribe", echoed=True)
    life = replace(BRIEF, notes=[*BRIEF.notes, *asked, echoed, update("one", 20.5)], seen=[*BRIEF.seen, again])
    assert list(wrong_subscriptions(life)) == []
    early = replace(life, notes=[*life.notes, update("one", 17.5)])
    assert [problem for problem in wrong_subscriptions(early) if "lease" in problem or "deleted" in problem]


def test_a_run_in_which_a_kind_of_subscription_never_went_its_way_is_no_proof() -> None:
    problems = list(untested_subscriptions(KEPT))
    assert not [problem for problem in problems if " kept " in problem]
    assert "no subscription of the kind mute was proved" in problems
    assert "no subscription of the kind renewed was renewed" in problems
    assert "no subscription of the kind brief was ended" in problems


def test_lives_of_every_kind_begin_and_a_seed_decides_how() -> None:
    lives = [life(number, seed=1, hosts=HOSTS) for number in range(len(KINDS))]

    assert [one.kind for one in lives] == list(KINDS)
    assert lives == [life(number, seed=1, hosts=HOSTS) for number in range(len(KINDS))]
    assert lives != [life(number, seed=2, hosts=HOSTS) for number in range(len(KINDS))]
    assert len({one.path for one in lives}) == len(KINDS)
    assert all(one.steps[0].action == "subscribe" for one in lives)
    assert all(one.steps[-1].lease == LONG_SECONDS for one in lives if one.kind in LASTING)


def test_the_subscriber_tells_which_secret_signed() -> None:
    [one] = [each for number in range(20) if (each := life(number, seed=1, hosts=HOSTS)).kind == "kept"][:1]
    assert signed_with(one, {}, b"body") == "none"
    assert signed_with(one, {"x-hub-signature": "sha256=00"}, b"body") == "invalid"


def test_a_log_is_read_as_it_is_written() -> None:
    [one] = read_notes(
        ['{"what": "update", "path": "/a", "at": 1.0, "key": "k", "signature": "none", "answer": "200"}']
    )
    assert gather([one], [])[0].updates == [update("k", 1.0, "/a")]


def test_filters_accept_each_group_and_each_event_has_one() -> None:
    number = KINDS.index("native-filtered")
    lives = [life(number + turn * len(KINDS), seed=1, hosts=HOSTS) for turn in range(GROUPS)]

    assert {wanted_group(one.path) for one in lives} == set(range(GROUPS))
    made = [make(each, seed=1, route="single") for each in range(GROUPS)]
    assert [json.loads(one.line)["data"][GROUP] for one in made] == [group_of(one.key) for one in made]
