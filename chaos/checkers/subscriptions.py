"""The rule about subscriptions: nothing before their proof, everything while they last, nothing after their end."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from chaos.checkers.losses import accepted
from chaos.checkers.tolerances import DELAYING_ENTRIES, interrupted_seconds
from chaos.history import History, Note, Published, Seen, matches
from chaos.workload.events import group_of
from chaos.workload.lives import BRIEF, KINDS, LASTING, LONG_SECONDS, RATE, wanted_group

TOPICS = ("push",)
# Seconds within which a request that was claimed before an end, or before a change of the secret, has arrived.
SENT_WITHIN = 1.0
# Seconds within which an event arrives where its receiver accepts it by the fourth request.
ARRIVES_WITHIN = 8.0
# Seconds before a request within which a stall of the machine may have held up it and others.
STALLED_WITHIN = 10.0
# Requests of a paced one that may come at once: one, and those of the two seconds by which it may have been late, on a
# busy machine twice that.
AT_ONCE = 1 + 2 * RATE // 30


@dataclass
class Subscription:
    """One subscription as its subscriber logged it, and as it was seen in the database, in order of time."""

    path: str
    notes: list[Note] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Return what was to become of it."""
        return next((note.kind for note in self.notes if note.what == "life"), "")

    def noted(self, what: str, *modes: str) -> list[Note]:
        """Return the notes of one kind, with one of these modes if there are any."""
        return [note for note in self.notes if note.what == what and (not modes or note.mode in modes)]

    @property
    def updates(self) -> list[Note]:
        """Return the updates that arrived, whatever they were answered."""
        return self.noted("update")

    @property
    def lasts_since(self) -> float:
        """Return when it was first seen with a lease that outlasts the run, or without an end; infinity if never."""
        proved = (seen for seen in self.seen if seen.verified_at is not None)
        return next(
            (seen.at for seen in proved if (seen.expires_at or math.inf) > seen.at + LONG_SECONDS / 2), math.inf
        )

    @property
    def gone_at(self) -> float:
        """Return when the last of its webhooks was first seen deleted; infinity if one is not, or if there is none."""
        return self.gone_by(math.inf)

    def gone_by(self, moment: float) -> float:
        """Return the same of those webhooks that were proved by a moment."""
        ends: dict[int, float] = {}
        for seen in self.seen:
            if seen.verified_at is not None and seen.verified_at <= moment:
                ends.setdefault(seen.webhook, math.inf)
            if seen.deleted_at is not None and seen.webhook in ends:
                ends[seen.webhook] = min(seen.at, ends[seen.webhook])
        return max(ends.values(), default=math.inf)

    @property
    def is_certain(self) -> bool:
        """Return whether each of its requests was answered, so that it is known what was asked for."""
        return len(self.noted("ask")) == len([note for note in self.noted("answer") if 200 <= note.status < 300])


def gather(notes: Iterable[Note], seen: Iterable[Seen]) -> list[Subscription]:
    """Return the subscriptions of a history, ordered by path."""
    found: dict[str, Subscription] = {}
    for note in notes:
        found.setdefault(note.path, Subscription(note.path)).notes.append(note)
    for one in seen:
        found.setdefault(one.path, Subscription(one.path)).seen.append(one)
    return [found[path] for path in sorted(found)]


def wrong_subscriptions(history: History) -> Iterator[str]:
    """Yield each update that a subscription must not get, and each that it missed."""
    events = [event for event in accepted(history) if matches(TOPICS, event.type)]
    for one in gather(history.notes, history.seen):
        problems = chain(
            _unproved(one), _after_its_lease(one, history), _after_its_end(one, history), _wrong_secrets(one, history),
            _missed(one, events, history), _lost(one), _filtered_out(one), _too_fast(one, history),
        )  # fmt: skip
        yield from (f"{one.path} {problem}" for problem in problems)


def _unproved(one: Subscription) -> Iterator[str]:
    """Yield each update that came before the callback had echoed a challenge."""
    echoed_at = min((note.at for note in one.noted("question", "subscribe") if note.echoed), default=math.inf)
    for update in one.updates:
        if update.at < echoed_at:
            yield f"got {update.key} without having echoed a challenge"


def _after_its_lease(one: Subscription, history: History) -> Iterator[str]:
    """Yield each update that came after the end of every lease that was granted before it."""
    leases = [(seen.verified_at, seen.expires_at) for seen in one.seen if seen.verified_at is not None]
    for update in one.updates:
        granted = [math.inf if ends is None else ends for since, ends in leases if since <= update.at]
        ended_at = max(granted, default=math.inf)
        if update.at > ended_at + _sent_within(ended_at, update.at, history):
            yield f"got {update.key} {update.at - ended_at:.1f} s after its lease had ended"


def _after_its_end(one: Subscription, history: History) -> Iterator[str]:
    """Yield each update that came after the subscription was deleted, or its subscriber was told so."""
    told_at = min((note.at for note in one.noted("denied")), default=math.inf)
    for update in one.updates:
        ended_at = min(one.gone_by(update.at), told_at)
        if update.at > ended_at + _sent_within(ended_at, update.at, history):
            yield f"got {update.key} {update.at - ended_at:.1f} s after it was deleted"


def _wrong_secrets(one: Subscription, history: History) -> Iterator[str]:
    """Yield each update with an invalid signature, with a secret that is not proved yet, or with a replaced one."""
    in_force = _secrets_in_force(one)
    for update in one.updates:
        spans = in_force.get(update.signature)
        if spans is None:
            yield f"got {update.key} with the signature of {update.signature} instead of {', '.join(sorted(in_force))}"
        elif all(update.at < since for since, _ in spans):
            yield f"got {update.key} signed with a secret that it had not proved"
        elif all(update.at > until + _sent_within(until, update.at, history) for _, until in spans):
            late = update.at - max(until for _, until in spans)
            yield f"got {update.key} signed with a secret that it had replaced {late:.1f} s before"


def _secrets_in_force(one: Subscription) -> dict[str, list[tuple[float, float]]]:
    """Return from when and until when, at most, each of the secrets that were asked for may sign."""
    asks, answers = one.noted("ask", "subscribe"), one.noted("answer", "subscribe")
    found: dict[str, list[tuple[float, float]]] = {}
    for place, ask in enumerate(asks):
        echoes = [note.at for note in one.noted("question", "subscribe") if note.echoed and note.at >= ask.at]
        until = math.inf
        if place + 1 < len(answers) and answers[place + 1].status == 202:
            renewed = [seen.at for seen in one.seen if (seen.verified_at or 0) > answers[place + 1].at]
            until = min(renewed, default=math.inf)
        found.setdefault(_name_of(ask.secret), []).append((min(echoes, default=math.inf), until))
    return found


def _name_of(secret: int | None) -> str:
    return "none" if secret is None else str(secret)


def _missed(one: Subscription, events: Iterable[Published], history: History) -> Iterator[str]:
    """Yield each event that was published while the subscription was surely in force, and did not arrive.

    Of one that ends, only those that had time to arrive. A short lease ends before that.
    """
    if one.kind in {*BRIEF, "paced"} or not one.is_certain:
        return
    taken = {update.key for update in one.updates if update.answer == "200"}
    until = min((note.at for note in one.noted("ask", "unsubscribe", "delete")), default=math.inf)
    for event in events:
        stored_at = max(event.answered_at, history.stored.get(event.key, event.answered_at))
        had_time = until == math.inf or _arrives_by(stored_at, until, history) < until
        if event.at > one.lasts_since and had_time and event.key not in taken and _is_wanted(one, event.key):
            yield f"missed {event.key}, published {event.at - one.lasts_since:.1f} s after it was proved"


def _arrives_by(since: float, until: float, history: History) -> float:
    faults = interrupted_seconds(since, until, history.interruptions, kinds=DELAYING_ENTRIES)
    return since + ARRIVES_WITHIN + faults + (history.stored_within if faults else 0)


def _lost(one: Subscription) -> Iterator[str]:
    """Yield whether the subscription was deleted although it was to last."""
    if one.kind in LASTING and one.is_certain and one.lasts_since < one.gone_at < math.inf:
        yield "was deleted, although nobody had asked for that"


def _is_wanted(one: Subscription, key: str) -> bool:
    return one.kind != "native-filtered" or group_of(key) == wanted_group(one.path)


def _filtered_out(one: Subscription) -> Iterator[str]:
    """Yield each update that the filter of its webhook rejects."""
    for update in one.updates:
        if not _is_wanted(one, update.key):
            yield f"got {update.key}, which its filter rejects"


def _too_fast(one: Subscription, history: History) -> Iterator[str]:
    """Yield the first updates that came faster than at the pace of the rate that their receiver allows."""
    if one.kind != "paced":
        return
    times = [update.at for update in one.updates]
    for place, first in enumerate(times):
        for count, last in enumerate(times[place:], start=1):
            stalled = interrupted_seconds(first - STALLED_WITHIN, last, history.interruptions, kinds={"machine"})
            if count > AT_ONCE + (last - first + stalled) * RATE / 60:
                yield f"got {count} requests within {last - first:.1f} s, but allows {RATE} a minute"
                return


def _sent_within(since: float, until: float, history: History) -> float:
    return SENT_WITHIN + interrupted_seconds(since, until, history.interruptions)


def untested_subscriptions(history: History) -> Iterator[str]:
    """Yield each kind of which none went the way that it was to go: then the run proves nothing about it."""
    ways: defaultdict[str, set[str]] = defaultdict(set)
    for one in gather(history.notes, history.seen):
        proofs = {seen.verified_at for seen in one.seen if seen.verified_at is not None}
        happened = {
            "proved": bool(proofs) or (one.kind == "mute" and bool(one.noted("question"))),
            "got an update": bool(one.updates) or one.kind == "mute",
            "renewed": len(proofs) > 1 or one.kind not in {"renewed", "prolonged"},
            "ended": one.gone_at < math.inf or one.kind in {*LASTING, "mute", "native-brief", "paced"},
        }
        ways[one.kind] |= {what for what, is_so in happened.items() if is_so}
    for kind in KINDS:
        for what in ("proved", "got an update", "renewed", "ended"):
            if what not in ways[kind]:
                yield f"no subscription of the kind {kind} was {what}"
