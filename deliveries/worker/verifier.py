"""The verifier in every worker: sends the requests of due verifications, several at a time, and concludes them."""

import threading
from datetime import datetime, timedelta

from deliveries import vault
from deliveries.db import sql
from deliveries.failpoints import hit
from deliveries.policy.outcomes import NoResponse
from deliveries.proofs import MAX_BODY
from deliveries.sending.exchange import Exchange
from deliveries.sending.sender import Sender, certificates_from_settings, policy_from_settings
from deliveries.webhooks import verification_queue, verifying
from deliveries.webhooks.verification_queue import VerificationClaim

# Requests in flight of one worker, all to different hosts.
SLOTS = 8
WAIT = timedelta(seconds=1)


class Verifier:
    """Verifies until nothing is due and nothing is in flight, or until ``stopped``.

    It has a sender of its own, whose bodies are short whatever the settings keep of others, and which is closed as soon
    as it is idle: a process forked by the worker would inherit its connections.
    """

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def run(self, now: datetime) -> int:
        """Send what is due; return how many verifications were concluded. What is cut off is repeated later."""
        claims = verification_queue.claim(SLOTS, now=now)
        if not claims:
            return 0
        concluded = 0
        sender = make_sender()
        try:
            while claims or sender.in_flight:
                for each in claims:
                    concluded += start(each, sender=sender, now=sql.database_now())
                for token, exchange in sender.wait(WAIT):
                    concluded += conclude(token, exchange)
                if self._stopped.is_set():
                    break
                claims = verification_queue.claim(sender.free, now=sql.database_now()) if sender.free else []
        finally:
            sender.close()
        return concluded


def make_sender() -> Sender:
    """Return a sender with the guard of all others, which reads one byte more of a body than a proof may have."""
    return Sender(
        slots=SLOTS,
        policy=policy_from_settings(),
        certificates=certificates_from_settings(),
        body_kept=MAX_BODY + 1,
    )


def start(claim: VerificationClaim, *, sender: Sender, now: datetime) -> bool:
    """Start the request of a claim; return whether it was concluded at once, because there is none to send."""
    hit("verification-claimed")
    try:
        request = verification_queue.request_of(claim, now=now)
    except (vault.Unreadable, vault.NoLiveSecret) as error:
        problem = f"The request could not be built: {error}"
    else:
        if request is not None:
            sender.start(request, token=claim)
            return False
        problem = "It was superseded."
    return conclude(claim, Exchange(timedelta(0), NoResponse("unrenderable", problem)))


def conclude(claim: object, exchange: Exchange) -> bool:
    """Conclude a claim by the database's time; return whether its lease still held."""
    if not isinstance(claim, VerificationClaim):
        raise TypeError(claim)
    state = verifying.conclude(claim, exchange, now=sql.database_now())
    hit("verification-concluded")
    return state is not None
