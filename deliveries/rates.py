"""Rate limits over sliding windows, counted per process and synchronized through Redis a few times a second.

A decision takes no round trip, because it uses the counts known to this process. Each process learns the usage of all
others some hundred milliseconds later, so a limit may be exceeded by what they admit until then
(docs/decisions/0016-rates.md). Without Redis each process enforces the limits on its own counts.
"""

import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from deliveries.redis_link import pool_for

log = logging.getLogger("hookhub.rates")

WINDOW = timedelta(minutes=1)
SYNC_EVERY = timedelta(milliseconds=250)
# The timeout of a command to Redis, and how long no command is sent after a failure.
REDIS_TIMEOUT = timedelta(milliseconds=200)
REDIS_COOLDOWN = timedelta(seconds=1)
# Beyond this the subject added first is dropped, so that clients with many addresses cannot exhaust the memory.
MAX_SUBJECTS = 20_000
# A larger sync could exceed REDIS_TIMEOUT.
MAX_SUBJECTS_IN_A_SYNC = 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """A named rate limit per subject and ``window``; the quota itself is passed to each call."""

    name: str
    window: timedelta = WINDOW


class Standing(NamedTuple):
    """A subject's state under a policy: the remaining quota, and the seconds until it increases (``reset``)."""

    policy: Policy
    quota: int
    remaining: int
    reset: int


class TooMany(Exception):
    """A rate limit is exceeded; ``standing`` says which one and when to retry."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(
            f"Rate limit exceeded: {standing.quota:,} per {standing.policy.window.total_seconds():g} s "
            f"({standing.policy.name}). Retry after {standing.reset} s."
        )
        self.standing = standing


@dataclass(slots=True)
class Count:
    """A subject's usage: in the previous window, and in the current one by this process and by the others."""

    seconds: float
    window: int
    before: int = 0
    own: int = 0
    others: int = 0

    @property
    def current(self) -> int:
        """The usage of all processes in the current window."""
        return self.own + self.others

    def roll(self, window: int) -> None:
        """Advance to a later window; a clock set back by up to one window changes nothing."""
        if self.window - 1 <= window <= self.window:
            return
        is_next = window == self.window + 1
        self.before = self.current if is_next else 0
        self.window, self.own, self.others = window, 0, 0


Key = tuple[str, str]
"""A policy's name and a subject."""


class Used(NamedTuple):
    """What a process writes to Redis for a subject: its whole count in a window of ``seconds``."""

    seconds: float
    window: int
    own: int


class Counters:
    """One process's counts by policy and subject; with ``in_background``, a thread syncs them through Redis."""

    def __init__(self, connect: Callable[[], Redis], *, prefix: str, in_background: bool = True) -> None:
        self._in_background = in_background
        # This process's field in the Redis hashes.
        self._name = secrets.token_hex(8)
        self._connect = connect
        self._prefix = prefix
        self._counts: dict[Key, Count] = {}
        self._dirty: set[Key] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._away_until = 0.0

    def look(self, policy: Policy, subject: str, *, quota: int, now: float) -> Standing:
        """Return a subject's state without counting anything; ``now`` is in seconds since 1970."""
        seconds = policy.window.total_seconds()
        window, passed = divmod(now, seconds)
        count = self._counts.get((policy.name, subject))
        if count is None:
            return Standing(policy, quota, quota, math.ceil(seconds - passed))
        if count.window != window:
            with self._lock:
                count.roll(int(window))
        share = passed / seconds
        # The previous window counts as far as it has not slid out yet.
        left = quota - (count.own + count.others + count.before * (1 - share))
        if left >= 1:
            return Standing(policy, quota, math.floor(left), math.ceil((1 - share) * seconds))
        return Standing(policy, quota, 0, _seconds_until_more(count, quota=quota, share=share, window=seconds))

    def spend(self, policy: Policy, subject: str, amount: int = 1, *, now: float) -> None:
        """Add ``amount`` to a subject's count; a negative one undoes an earlier call."""
        self.spend_all([(policy, subject)], amount, now=now)

    def spend_all(self, subjects: Iterable[tuple[Policy, str]], amount: int, *, now: float) -> None:
        """Add ``amount`` to the count of each subject."""
        with self._lock:
            for policy, subject in subjects:
                self._add(policy, subject, amount, now=now)
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None and self._in_background:
            self._start()

    def _add(self, policy: Policy, subject: str, amount: int, *, now: float) -> None:
        seconds = policy.window.total_seconds()
        window = int(now // seconds)
        key = (policy.name, subject)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= MAX_SUBJECTS:
                oldest = next(iter(self._counts))
                del self._counts[oldest]
                self._dirty.discard(oldest)
            count = self._counts[key] = Count(seconds, window)
        count.roll(window)
        count.own += amount
        self._dirty.add(key)

    def sync(self) -> bool:
        """Write this process's counts to Redis and read the totals; return False if Redis did not respond."""
        with self._lock:
            found = [(key, self._counts[key]) for key in islice(self._dirty, MAX_SUBJECTS_IN_A_SYNC)]
            taken = {key: Used(count.seconds, count.window, count.own) for key, count in found}
            self._dirty -= taken.keys()
            if self._dirty:
                self._wake.set()
        if not taken:
            return True
        try:
            totals = self._exchange(taken)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + REDIS_COOLDOWN.total_seconds()
            with self._lock:
                self._dirty |= taken.keys() & self._counts.keys()
            log.warning("Could not sync rate-limit counts with Redis (%s); each process uses its own counts", error)
            return False
        with self._lock:
            for (key, used), (total, before) in zip(taken.items(), totals, strict=True):
                count = self._counts.get(key)
                if count is not None and count.window == used.window:
                    count.others = total - used.own
                    # After an outage Redis lacks counts of the previous window that this process still has.
                    count.before = max(count.before, before)
        return True

    def _exchange(self, taken: dict[Key, Used]) -> Sequence[tuple[int, int]]:
        """Write the counts to Redis; return each subject's totals in the current and in the previous window.

        Each process writes its own count and never increments a shared one, so that a retry is idempotent: a command
        that timed out may have been executed.
        """
        pipe = self._connect().pipeline(transaction=False)
        for (policy, subject), used in taken.items():
            name = f"{self._prefix}:rate:{policy}:{subject}"
            pipe.hset(f"{name}:{used.window}", self._name, used.own)
            pipe.expire(f"{name}:{used.window}", math.ceil(used.seconds * 2) + 5)
            pipe.hvals(f"{name}:{used.window}")
            pipe.hvals(f"{name}:{used.window - 1}")
        answers = pipe.execute()
        return [
            (sum(map(int, current)), sum(map(int, before)))
            for current, before in zip(answers[2::4], answers[3::4], strict=True)
        ]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._sync_now_and_then, name="rates", daemon=True)
                self._thread.start()

    def _sync_now_and_then(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            wait = self._away_until - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                if not self.sync():
                    self._wake.set()
            except Exception:  # Without this thread the counts of the processes would never be synced again.
                log.exception("Could not sync rate-limit counts")
            time.sleep(SYNC_EVERY.total_seconds())


def _seconds_until_more(count: Count, *, quota: int, share: float, window: float) -> int:
    """Return the seconds until one more is allowed, without further usage, for a quota that is used up."""
    rest = (1 - share) * window
    current, before = count.current, count.before
    if quota < 1:
        return math.ceil(rest)
    if current <= quota - 1:
        # Until enough of the previous window has slid out.
        return max(math.ceil((1 - (quota - 1 - current) / before - share) * window), 1)
    # Until the current window has become the previous one and enough of it has slid out.
    return max(math.ceil(rest + (1 - max(quota - 1, 0) / current) * window), 1)


_counters: Counters | None = None


def counters() -> Counters:
    """Return this process's counters."""
    global _counters  # noqa: PLW0603 - one per process, created anew after a fork
    if _counters is None:
        _counters = Counters(_Link(), prefix=settings.HOOKHUB_QUEUE, in_background=bool(settings.REDIS_URL))
    return _counters


def _forget_counters() -> None:
    """Drop the parent's counters in a forked process: their thread does not survive the fork."""
    global _counters  # noqa: PLW0603 - see above
    _counters = None


os.register_at_fork(after_in_child=_forget_counters)


class _Link:
    """Creates the Redis client on first use, in the process and thread that syncs."""

    def __init__(self) -> None:
        self._redis: Redis | None = None

    def __call__(self) -> Redis:
        if self._redis is None:
            self._redis = Redis.from_pool(pool_for(settings.REDIS_URL, timeout=REDIS_TIMEOUT))
        return self._redis


def take(policy: Policy, subject: str, amount: int = 1, *, quota: int, now: float) -> Standing | None:
    """Count ``amount`` unless the quota is used up; return the subject's state, or None if ``quota`` is 0.

    A batch is admitted as a whole if any quota remains. Raises TooMany without counting anything.
    """
    return next(iter(take_all([(policy, subject, quota)], amount, now=now)), None)


def take_all(limits: Sequence[tuple[Policy, str, int]], amount: int = 1, *, now: float) -> list[Standing]:
    """Count ``amount`` for each (policy, subject, quota); a quota of 0 is no limit.

    Return the states of those with a quota. Raises TooMany without counting anything if any quota is used up.
    """
    standings = look_all(limits, now=now)
    for standing in standings:
        if standing.remaining < 1:
            raise TooMany(standing)
    if standings:
        counters().spend_all([(policy, subject) for policy, subject, quota in limits if quota], amount, now=now)
    return [Standing(policy, quota, max(remaining - amount, 0), reset) for policy, quota, remaining, reset in standings]


def look_all(limits: Sequence[tuple[Policy, str, int]], *, now: float) -> list[Standing]:
    """Return the states of the subjects with a quota, without counting anything."""
    look = counters().look
    return [look(policy, subject, quota=quota, now=now) for policy, subject, quota in limits if quota]
