"""Notifier: sends a wake-up to a worker after a commit, without blocking the caller."""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from uuid import uuid4

from django.conf import settings
from redis import Redis
from redis.exceptions import ResponseError

from deliveries.redis_link import LINK_ERRORS, RedisLink, Reply, is_wrong_type, pack, pool_for, rename_mistyped

log = logging.getLogger("hookhub.doorbell")

TASK = "deliveries.drain"
# The minimum interval between the wake-ups of one process; the first one after a pause is sent at once.
MIN_INTERVAL = timedelta(milliseconds=3)
# If no worker loop has received a wake-up for this long, the next one goes to an idle process, through Celery.
REMIND_AFTER = timedelta(milliseconds=50)
# The timeout of a command to Redis.
TIMEOUT = timedelta(milliseconds=200)
# How long no wake-up is sent after Redis failed. The workers' schedulers find the work in the meantime.
BREAKER_COOLDOWN = timedelta(seconds=1)
# Wake-ups in Celery's queue that no worker has received yet; with this many, no further one is sent.
MAX_QUEUED = 8
# A Celery message body without arguments: [[], {}, {}] in base64.
NO_ARGUMENTS = "W1tdLCB7fSwge31d"


class Work(StrEnum):
    """The work that a wake-up announces."""

    EVENTS = "events"
    ANY = "any"


class Route(StrEnum):
    """The processes to which a wake-up is sent."""

    LISTENER = "listener"  # a worker loop that listens, or an idle process if none does
    PROCESS = "process"  # an idle process, through Celery
    BOTH = "both"


def wakeup_key(work: Work) -> str:
    """Return the key of the list in which a wake-up waits until one of the listening worker loops takes it."""
    return f"{settings.HOOKHUB_QUEUE}:wakeup:{work}"


def listening_key() -> str:
    """Return the key that exists while a worker loop listens."""
    return f"{settings.HOOKHUB_QUEUE}:listening"


# Keys: the list of the wake-up, the mark of a listening loop, and Celery's queue. The list holds at most one wake-up,
# as the time in milliseconds at which it was sent: it is empty while a loop waits for one.
SEND = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_unheard = true
if ARGV[4] ~= 'process' then
    local sent_at = tonumber(redis.call('LINDEX', KEYS[1], 0) or nil)
    if not sent_at then
        redis.call('DEL', KEYS[1])
        redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
        is_unheard = redis.call('EXISTS', KEYS[2]) == 0
    elseif math.abs(now - sent_at) < tonumber(ARGV[3]) then
        is_unheard = false
    else
        redis.call('LSET', KEYS[1], 0, string.format('%.0f', now))
    end
end
if (is_unheard or ARGV[4] == 'both') and redis.call('LLEN', KEYS[3]) < tonumber(ARGV[2]) then
    redis.call('LPUSH', KEYS[3], ARGV[1])
end
return 1
"""


@lru_cache(maxsize=16)
def command_for(work: Work, route: Route, *, queue: str) -> bytes:
    """Return the command that sends a wake-up, as bytes."""
    keys = (wakeup_key(work), listening_key(), queue)
    remind_after = int(REMIND_AFTER / timedelta(milliseconds=1))
    # The script itself and not its hash, which Redis forgets when it restarts.
    return pack("EVAL", SEND, len(keys), *keys, json.dumps(new_wakeup_message(queue)), MAX_QUEUED, remind_after, route)


def new_wakeup_message(queue: str) -> dict[str, object]:
    """Return a wake-up as a complete Celery message, which carries no data."""
    number = str(uuid4())
    headers = {"lang": "py", "task": TASK, "id": number, "root_id": number, "retries": 0}
    return {
        "body": NO_ARGUMENTS,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**headers, "ignore_result": True},
        "properties": {
            "correlation_id": number,
            "delivery_tag": number,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            "priority": 0,
        },
    }


class Notifier:
    """One process's notifier. A thread connects, and sends what may not be sent at once."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._requested = threading.Event()
        self._thread_lock = threading.Lock()
        # Held while the link is used. A caller that does not get it leaves its wake-up to the thread.
        self._send_lock = threading.Lock()
        self._link: RedisLink | None = None
        self._thread: threading.Thread | None = None
        self._pending: set[tuple[Work, Route]] = set()
        self._next_at = self._paused_until = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether this process created it: its thread does not survive a fork."""
        return self._pid == os.getpid()

    def request(self, work: Work = Work.ANY, route: Route = Route.LISTENER) -> None:
        """Send a wake-up now if that cannot block, otherwise soon."""
        self._pending.add((work, route))
        if self._link is not None and time.monotonic() >= self._next_at and self._send_lock.acquire(blocking=False):
            try:
                self._send_pending()
            finally:
                self._send_lock.release()
        if self._pending:
            self._requested.set()
            self._start_thread()

    def _start_thread(self) -> None:
        if self._thread is None:
            with self._thread_lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._send_when_requested, name="notifier", daemon=True)
                    self._thread.start()

    def _send_when_requested(self) -> None:
        while True:
            self._requested.wait()
            time.sleep(max(0.0, self._next_at - time.monotonic()))
            # Cleared before sending: a request made from here on gets another wake-up.
            self._requested.clear()
            try:
                with self._send_lock:
                    self._send_pending(may_connect=True)
            except Exception:  # Without this thread no wake-up would ever be sent again.
                log.exception("Could not send a wake-up")
                self._close()

    def _send_pending(self, *, may_connect: bool = False) -> None:
        """Send what is pending; without a link, leave it to the thread."""
        if self._link is None and not may_connect:
            return
        wakeups = set()
        while self._pending:
            wakeups.add(self._pending.pop())
        if (Work.ANY, Route.LISTENER) in wakeups:
            wakeups.discard((Work.EVENTS, Route.LISTENER))
        for work, route in wakeups:
            self._try(work, route, waits=may_connect)

    def try_to_notify(self, work: Work = Work.ANY, route: Route = Route.BOTH) -> bool:
        """Send a wake-up and return whether Redis accepted it. For a while after a failure, return False at once."""
        with self._send_lock:
            return self._try(work, route, waits=True)

    def _try(self, work: Work, route: Route, *, waits: bool) -> bool:
        now = time.monotonic()
        if now < self._paused_until:
            return False
        self._next_at = now + MIN_INTERVAL.total_seconds()
        try:
            self._send(work, route, waits=waits)
        except LINK_ERRORS as error:
            self._close()
            self._paused_until = time.monotonic() + BREAKER_COOLDOWN.total_seconds()
            log.warning("Redis did not accept the wake-up (%s); the workers' schedulers will find the work", error)
            return False
        return True

    def _send(self, work: Work, route: Route, *, waits: bool) -> None:
        """Send a wake-up, and wait for the reply only if ``waits``; raises one of LINK_ERRORS."""
        if self._link is None:
            self._link = RedisLink(settings.REDIS_URL, timeout=TIMEOUT)
        # Replies to earlier wake-ups that were not waited for.
        _check(self._link.replies())
        if self._link.is_overdue(now=time.monotonic()):
            raise TimeoutError("Redis does not answer")
        queue: str = settings.HOOKHUB_QUEUE
        command = command_for(work, route, queue=queue)
        self._link.send(command)
        if waits:
            try:
                _check(self._link.wait_for_replies())
            except ResponseError as error:
                if not is_wrong_type(error):
                    raise
                rename_mistyped(_client(), [wakeup_key(work), queue])
                self._link.send(command)
                _check(self._link.wait_for_replies())

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def notify_before_exit(self) -> None:
        """Send a wake-up that is still pending: a command may exit right after it has accepted an event."""
        with self._send_lock:
            self._send_pending(may_connect=True)


def _check(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply


def _client() -> Redis:
    return Redis.from_pool(pool_for(settings.REDIS_URL, timeout=TIMEOUT))


_notifier = Notifier()


def _own_notifier() -> Notifier:
    global _notifier  # noqa: PLW0603 - one notifier per process, created anew after a fork
    if not _notifier.is_ours:
        _notifier = Notifier()
    return _notifier


def notify(work: Work = Work.ANY) -> None:
    """Request a wake-up for a worker without blocking; a lost one costs a second of latency and nothing else."""
    if settings.REDIS_URL:
        _own_notifier().request(work)


def notify_now() -> bool:
    """Wake a listening worker loop and an idle process, and return whether Redis accepted that.

    Blocks for a few times TIMEOUT in the worst case.
    """
    return bool(settings.REDIS_URL) and _own_notifier().try_to_notify()


def notify_idle_process() -> None:
    """Request that an idle worker process be woken through Celery, whether or not a worker loop listens."""
    if settings.REDIS_URL:
        _own_notifier().request(Work.ANY, Route.PROCESS)


def _notify_before_exit() -> None:
    if _notifier.is_ours:
        _notifier.notify_before_exit()


atexit.register(_notify_before_exit)
