"""The challenge of HookHub's own API: a signed POST whose challenge the receiver echoes."""

import json

from deliveries.compact_json import encode
from deliveries.formats.standard_webhooks import PREFIX, key_of
from deliveries.proofs.base import MAX_BODY, Ask, Asked, Proof, Question, Refused, Reply, is_echo, status_refusal
from deliveries.signing import sha256_base64
from deliveries.version import USER_AGENT


class Challenge(Proof):
    """A POST with the headers of Standard Webhooks, whatever the format of the webhook's deliveries."""

    slug = "challenge"
    title = "Challenge"

    def build(self, question: Question) -> Ask:
        body = encode({"type": "webhook.verification", "challenge": question.challenge})
        moment = str(int(question.sent_at.timestamp()))
        signed = f"{question.id}.{moment}.".encode() + body
        signatures = " ".join(["v1," + sha256_base64(signing_key(secret), signed) for secret in question.secrets])
        headers = [
            ("Content-Type", "application/json"),
            ("User-Agent", USER_AGENT),
            ("webhook-id", question.id),
            ("webhook-timestamp", moment),
        ]
        if signatures:
            headers.append(("webhook-signature", signatures))
        return Ask("POST", question.url, tuple(headers), body)

    def refusal(self, reply: Reply, asked: Asked) -> Refused | None:
        if (refused := status_refusal(reply.status)) is not None:
            return refused
        if len(reply.body) > MAX_BODY:
            return Refused(f"The response is longer than {MAX_BODY:,} bytes.")
        if is_echo(reply.body.strip(), asked.challenge) or is_echo(challenge_in(reply.body), asked.challenge):
            return None
        return Refused("The response does not contain the challenge.")


def signing_key(secret: str) -> bytes:
    """Return the key of a secret: what follows ``whsec_`` decoded, or the text itself if it is not of that form."""
    if secret.startswith(PREFIX):
        try:
            return key_of(secret)
        except ValueError:
            pass
    return secret.encode()


def challenge_in(body: bytes) -> object:
    """Return the member ``challenge`` of a JSON object, or None if the body is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value.get("challenge") if isinstance(value, dict) else None
