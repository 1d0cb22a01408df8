"""The handshake of CloudEvents' Web Hooks: an OPTIONS request by which a receiver consents, and says how often."""

from deliveries.proofs.base import Ask, Asked, Grant, Proof, Question, Refused, Reply, status_refusal
from deliveries.version import USER_AGENT

# The header that names the sending system, in the handshake and then in each delivery.
ORIGIN_HEADER = "WebHook-Request-Origin"
ALLOWED_ORIGIN = "WebHook-Allowed-Origin"
ALLOWED_RATE = "WebHook-Allowed-Rate"
ANY = "*"
# The member of ``details`` that holds our name.
ORIGIN = "origin"
# Requests a minute. A receiver that allows more gets no more.
MAX_RATE = 1_000_000
MAX_SHOWN = 100


class Handshake(Proof):
    """HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4: ``details`` holds the name of the ``origin``.

    Consent is in the headers: a server that answers any OPTIONS with 200 has consented to nothing. No rate is asked
    for, so that a receiver may leave it out, which means no limit.
    """

    slug = "handshake"
    title = "Handshake"

    def build(self, question: Question) -> Ask:
        headers = (("User-Agent", USER_AGENT), (ORIGIN_HEADER, question.details[ORIGIN]))
        return Ask("OPTIONS", question.url, headers, b"")

    def refusal(self, reply: Reply, asked: Asked) -> Refused | None:
        if (refused := status_refusal(reply.status)) is not None:
            return refused
        origins, rates = _values(reply, ALLOWED_ORIGIN), _values(reply, ALLOWED_RATE)
        if not origins:
            return Refused(f"The receiver answered {reply.status} without {ALLOWED_ORIGIN}.")
        if len(origins) > 1 or len(rates) > 1:
            name = ALLOWED_ORIGIN if len(origins) > 1 else ALLOWED_RATE
            return Refused(f"The receiver answered with more than one {name}.")
        ours = asked.details[ORIGIN]
        if origins[0] != ANY and origins[0].lower() != ours.lower():
            return Refused(f"{ALLOWED_ORIGIN} is {_shown(origins[0])}, which is neither * nor {ours}.")
        if rates and rates[0] != ANY and _number(rates[0]) is None:
            return Refused(f"{ALLOWED_RATE} is {_shown(rates[0])}, which is neither * nor a positive integer.")
        return None

    def grant(self, reply: Reply, asked: Asked) -> Grant:
        rates = _values(reply, ALLOWED_RATE)
        return Grant(asked.details[ORIGIN], _number(rates[0]) if rates else None)


def _values(reply: Reply, name: str) -> list[str]:
    return [value.strip() for header, value in reply.headers if header.lower() == name.lower()]


def _number(text: str) -> int | None:
    """Return a positive integer, at most MAX_RATE, or None if the text is none."""
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit() and digits):
        return None
    return MAX_RATE if len(digits) > len(str(MAX_RATE)) else min(int(digits), MAX_RATE)


def _shown(value: str) -> str:
    return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…")
