"""Listens for a worker loop: waits for wake-ups in Redis, and for whatever else may end the wait.

A wake-up is an element of a list, so that one loop takes it, and only while it waits: a loop that is at work leaves it
to the others.
"""

import logging
import os
import select
import time
from datetime import timedelta

from django.conf import settings
from redis.exceptions import ResponseError

from deliveries import shutdown
from deliveries.redis_link import LINK_ERRORS, RedisLink, Reply, pack
from deliveries.wakeup import TIMEOUT, Work, listening_key, wakeup_key
from deliveries.worker import process_pool

log = logging.getLogger("hookhub.doorbell")

# How long Redis blocks when there is no wake-up. A reply that is later than that by GRACE will not come any more.
BLOCK = timedelta(seconds=1)
GRACE = timedelta(seconds=1)
# How long the mark of a listening loop lives in Redis, and how often it is renewed. After that long without listening,
# wake-ups go to idle processes.
MARK_VALID_FOR = timedelta(seconds=3)
RENEW_AFTER = timedelta(milliseconds=500)
# How long Redis is left alone after a failure.
RETRY_AFTER = timedelta(seconds=1)


class Listener:
    """Receives the wake-ups for one worker loop; times are in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.link: RedisLink | None = None
        self.is_armed = False
        self._give_up_at = self._renew_at = self._retry_at = 0.0
        self._has_failed = False

    def arm(self, *, marks: bool) -> bool:
        """Start to wait for a wake-up unless that has been done; return False if Redis is unavailable.

        With ``marks``, wake-ups are sent to listening loops only, until ``withdraw`` is called.
        """
        if not settings.REDIS_URL:
            return False
        now = time.monotonic()
        if self.is_armed and now < self._give_up_at:
            return True
        try:
            if self.is_armed:
                raise TimeoutError("Redis does not answer")
            self._arm(now, marks=marks)
        except LINK_ERRORS as error:
            self._fail(error)
        return self.is_armed

    def _arm(self, now: float, *, marks: bool) -> None:
        if self.link is None:
            if now < self._retry_at:
                return
            self.link, self._renew_at = RedisLink(settings.REDIS_URL, timeout=TIMEOUT), 0.0
        commands = []
        if marks and now >= self._renew_at:
            lifetime = int(MARK_VALID_FOR / timedelta(milliseconds=1))
            commands.append(pack("SET", listening_key(), 1, "PX", lifetime))
            self._renew_at = now + RENEW_AFTER.total_seconds()
        seconds = int(BLOCK.total_seconds())
        commands.append(pack("BLPOP", wakeup_key(Work.ANY), wakeup_key(Work.EVENTS), seconds))
        self.link.send(*commands)
        self._give_up_at = now + (BLOCK + GRACE).total_seconds()
        self.is_armed = True

    def wait(self, timeout: float) -> None:
        """Wait, for ``timeout`` seconds at most, for a reply, a wake-up through the worker's pipe, or shutdown."""
        poll = select.poll()
        poll.register(shutdown.fileno(), select.POLLIN)
        for descriptor in (process_pool.reader(), self.link and self.link.fileno()):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, timeout) * 1000)

    def heard(self) -> Work | None:
        """Return the work that a wake-up through Redis announces, or None; after one, arm the listener again."""
        if self.link is None or not self.is_armed:
            return None
        try:
            return self._read(self.link)
        except LINK_ERRORS as error:
            self._fail(error)
            return None

    @staticmethod
    def take_from_pipe() -> bool:
        """Take a wake-up from the worker's pipe, and return whether there was one."""
        pipe = process_pool.reader()
        return pipe is not None and bool(process_pool.take(pipe))

    def _read(self, link: RedisLink) -> Work | None:
        found = None
        for reply in link.replies():
            if isinstance(reply, ResponseError):
                raise reply
            found = found or _work_of(reply)
        if link.unanswered == 0:
            self.is_armed = self._has_failed = False
        return found

    def withdraw(self) -> bool:
        """Stop waiting, and return whether a wake-up may have come that was not heard."""
        may_have_missed = self.is_armed or self._renew_at > 0
        try:
            if self.is_armed:
                self._close()
                self.link = RedisLink(settings.REDIS_URL, timeout=TIMEOUT)
            if self.link is not None and self._renew_at:
                self._renew_at = 0.0
                self.link.send(pack("DEL", listening_key()))
                self.link.wait_for_replies()
        except LINK_ERRORS as error:
            self._fail(error)
        return may_have_missed

    def _fail(self, error: Exception) -> None:
        if not self._has_failed:
            log.warning("Cannot listen for wake-ups (%s); the workers' schedulers will find the work", error)
        self._has_failed = True
        self._close()
        self._retry_at = time.monotonic() + RETRY_AFTER.total_seconds()

    def _close(self) -> None:
        link, self.link, self.is_armed = self.link, None, False
        if link is not None:
            link.close()


def _work_of(reply: Reply) -> Work | None:
    """Return the work that a reply to BLPOP announces; None if the time was over."""
    match reply:
        case [bytes() as key, _]:
            return Work.EVENTS if key.decode() == wakeup_key(Work.EVENTS) else Work.ANY
    return None


_listeners: dict[int, Listener] = {}


def listener_of_this_process() -> Listener:
    """Return this process's listener, which keeps its connection from one run to the next."""
    return _listeners.setdefault(os.getpid(), Listener())
