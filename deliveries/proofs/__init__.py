"""The ways in which a webhook's URL proves that its receiver wants the requests, a small file each.

A proof is pure: it builds the request that carries a challenge, and judges the response. A new one costs a file, a line
here, and golden bytes in its test. ``deliveries.webhooks.verifying`` says when one is needed and what follows from it,
and ``deliveries.worker.verifier`` sends the requests.
"""

from collections.abc import Mapping

from deliveries.proofs.base import MAX_BODY, Ask, Asked, Grant, Proof, Question, Refused, Reply, make_challenge
from deliveries.proofs.challenge import Challenge
from deliveries.proofs.handshake import Handshake
from deliveries.proofs.mcp import Mcp
from deliveries.proofs.websub import WebSub

PROOFS: Mapping[str, Proof] = {proof.slug: proof for proof in (Challenge(), WebSub(), Mcp(), Handshake())}
# The proofs that an owner may ask for, and the one that an organization demands of webhooks whose owner asks for none.
OWNERS = (Challenge.slug, Handshake.slug)
DEFAULT = Challenge.slug


def choices() -> list[tuple[str, str]]:
    """Return the slug and the title of each proof, for a field's choices."""
    return [(slug, proof.title) for slug, proof in PROOFS.items()]


__all__ = [
    "DEFAULT",
    "MAX_BODY",
    "OWNERS",
    "PROOFS",
    "Ask",
    "Asked",
    "Grant",
    "Proof",
    "Question",
    "Refused",
    "Reply",
    "choices",
    "make_challenge",
]
