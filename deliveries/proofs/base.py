"""What every proof has: a request that carries a challenge, and a judgement of the response."""

import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple

# A longer response body is no echo.
MAX_BODY = 1024


class Question(NamedTuple):
    """What the request of a proof is built from.

    ``id`` is the same for each request of a verification, ``challenge`` another for each. ``details`` are those with
    which the verification was asked for, and ``lasts`` is the lease that the proof grants, or None.
    """

    id: str
    mode: str
    url: str
    challenge: str
    details: Mapping[str, str]
    lasts: timedelta | None
    secrets: tuple[str, ...]
    sent_at: datetime


class Ask(NamedTuple):
    """The request of a proof, without the owner's custom headers."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Reply(NamedTuple):
    """A complete response to the request of a proof. ``body`` may be truncated after MAX_BODY."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Asked(NamedTuple):
    """What a response is judged by: the challenge of its request, and the details of the question."""

    challenge: str
    details: Mapping[str, str]


class Refused(NamedTuple):
    """A response that proves nothing. ``is_final`` if a repetition would be pointless."""

    reason: str
    is_final: bool = False


class Grant(NamedTuple):
    """What a receiver says beyond that it wants the requests.

    ``origin`` is the name by which it knows HookHub, and which each delivery then carries; None if there is no such
    name. ``rate`` is how many requests a minute it allows; None for no limit.
    """

    origin: str | None = None
    rate: int | None = None


class Proof(ABC):
    """One way to prove a URL. ``deliveries.proofs.PROOFS`` lists all of them."""

    slug: ClassVar[str]
    title: ClassVar[str]
    # Whether the owner is told before a lease that the proof granted ends; not where the receiver itself renews it.
    warns_owner: ClassVar[bool] = True
    # Whether the receiver is asked again after an answer that proves nothing, on the schedule of verifications.
    is_repeated: ClassVar[bool] = True

    @abstractmethod
    def build(self, question: Question) -> Ask:
        """Return the request that asks the receiver."""

    @abstractmethod
    def refusal(self, reply: Reply, asked: Asked) -> Refused | None:
        """Return why a response is no proof, or None if it is one."""

    def grant(self, reply: Reply, asked: Asked) -> Grant | None:
        """Return what a response that is a proof grants, or None for no more than the requests."""
        return None


def make_challenge() -> str:
    """Return a new challenge, which cannot be guessed."""
    return secrets.token_urlsafe(32)


def status_refusal(status: int) -> Refused | None:
    """Return why a status is no proof, or None for 2xx. 410 is final, as for deliveries."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Refused(f"The receiver answered {status}; redirects are not followed.")
    return Refused(f"The receiver answered {status}.", is_final=status == 410)


def is_echo(text: object, challenge: str) -> bool:
    """Return whether ``text`` equals the challenge, in a time that does not depend on where they differ."""
    return isinstance(text, str | bytes) and hmac.compare_digest(
        text if isinstance(text, bytes) else text.encode(errors="replace"), challenge.encode()
    )
