"""The callback verification of MCP Events: a signed POST whose challenge the subscriber echoes in JSON."""

from deliveries.compact_json import encode
from deliveries.formats.mcp_event import SUBSCRIPTION_ID
from deliveries.proofs.base import MAX_BODY, Ask, Asked, Proof, Question, Refused, Reply, is_echo, status_refusal
from deliveries.proofs.challenge import challenge_in, signing_key
from deliveries.signing import sha256_base64
from deliveries.version import USER_AGENT

# The member of ``details`` that holds the subscription's id.
SUBSCRIPTION = "subscription"


class Mcp(Proof):
    """https://developers.openai.com/plugins/build/mcp-events: asked once, because the caller waits for the verdict."""

    slug = "mcp"
    title = "MCP Events"
    warns_owner = False
    is_repeated = False

    def build(self, question: Question) -> Ask:
        body = encode({"type": "verification", "challenge": question.challenge})
        message_id = f"msg_verification_{question.id}"
        moment = str(int(question.sent_at.timestamp()))
        signed = f"{message_id}.{moment}.".encode() + body
        signatures = ["v1," + sha256_base64(signing_key(secret), signed) for secret in question.secrets]
        headers = (
            ("Content-Type", "application/json"),
            ("User-Agent", USER_AGENT),
            ("webhook-id", message_id),
            ("webhook-timestamp", moment),
            ("webhook-signature", " ".join(signatures)),
            (SUBSCRIPTION_ID, question.details[SUBSCRIPTION]),
        )
        return Ask("POST", question.url, headers, body)

    def refusal(self, reply: Reply, asked: Asked) -> Refused | None:
        if (refused := status_refusal(reply.status)) is not None:
            return refused
        if len(reply.body) > MAX_BODY or not is_echo(challenge_in(reply.body), asked.challenge):
            return Refused("The response does not contain the challenge.")
        return None
