"""Sends e-mails, and decides for each one that was not sent whether and when to try again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPSenderRefused

from django.db import Error

log = logging.getLogger("hookhub.notices")

# E-mails per tick: a slow mail server must not block the scheduler for long.
BATCH = 10
# After a temporary rejection, as of a full mailbox or by greylisting.
RETRY_AFTER = timedelta(minutes=5)
GIVE_UP_AFTER = timedelta(days=1)


class Outcome(Enum):
    """What became of an e-mail; after REJECTED it is not tried again, and after UNAVAILABLE no other is tried now."""

    SENT = auto()
    REJECTED = auto()
    DEFERRED = auto()
    UNAVAILABLE = auto()


@dataclass
class Mailer:
    """Sends e-mails of one kind. What it deferred is in this process's memory; another process tries it at once."""

    kind: str
    _deferred_since: dict[int, datetime] = field(default_factory=dict)
    _retry_at: dict[int, datetime] = field(default_factory=dict)

    def deferred(self, *, now: datetime) -> list[int]:
        """Return the keys of the e-mails that it is too early to try again."""
        return [key for key, retry_at in self._retry_at.items() if retry_at > now]

    def send(self, write: Callable[[], object], *, key: int, about: object, now: datetime) -> Outcome:
        """Call ``write``, and return the outcome; ``key`` identifies the e-mail, and ``about`` names it in the log."""
        what = f"the e-mail about {self.kind} {about}"
        try:
            write()
        except (SMTPException, OSError) as error:
            codes = rejections(error)
            if not codes:
                log.warning("Could not send %s; will retry: %s", what, error)
                return Outcome.UNAVAILABLE
            since = self._deferred_since.setdefault(key, now)
            if is_temporary(codes) and now - since < GIVE_UP_AFTER:
                log.warning("The mail server rejected %s for now; will retry: %s", what, error)
                self._retry_at[key] = now + RETRY_AFTER
                return Outcome.DEFERRED
            log.exception("The mail server rejected %s", what)
            self._forget(key)
            return Outcome.REJECTED
        except Error:
            raise
        except Exception:  # One e-mail that cannot be written must not keep all others from being sent.
            log.exception("Could not write %s", what)
            self._forget(key)
            return Outcome.REJECTED
        self._forget(key)
        return Outcome.SENT

    def _forget(self, key: int) -> None:
        self._deferred_since.pop(key, None)
        self._retry_at.pop(key, None)


def rejections(error: Exception) -> list[int]:
    """Return the status codes with which the server rejected this e-mail; none if it would reject any, or is away."""
    match error:
        case SMTPRecipientsRefused():
            return [code for code, _ in error.recipients.values()]
        case SMTPSenderRefused() | SMTPDataError():
            return [error.smtp_code]
    return []


def is_temporary(codes: list[int]) -> bool:
    """Return whether a later attempt may succeed: the server rejected at least one recipient with a 4xx code."""
    return any(code < 500 for code in codes)
