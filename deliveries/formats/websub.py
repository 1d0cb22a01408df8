"""WebSub's wire format: the topic's content as it is, with links to the hub and the topic."""

from typing import ClassVar

from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.policies import Policy, SecretPolicy
from deliveries.signing import hex_digest
from deliveries.version import USER_AGENT

# The content type of topics, which a subscriber compares with that of the updates.
CONTENT_TYPE = "application/json"
ALGORITHMS = ("sha256", "sha1", "sha384", "sha512")
MAX_SECRET_BYTES = 199


class WebSub(Format):
    """https://www.w3.org/TR/websub/#content-distribution: signed only if the subscriber has sent a secret."""

    slug = "websub"
    title = "WebSub"
    reserved_headers = frozenset({"content-type", "user-agent", "link", "x-hub-signature"})
    header_notes: ClassVar = {
        "Link": "The addresses of the hub and of the topic.",
        "X-Hub-Signature": "The algorithm, `=`, and the HMAC of the body in hexadecimal; absent without `hub.secret`.",
    }
    secret_policy = SecretPolicy.OPTIONAL
    # A subscriber that fails stays subscribed to the end of its lease.
    policy = Policy(auto_disable=False)

    def render(self, message: Message) -> Rendered:
        subscription = message.subscription or {}
        headers = [("Content-Type", CONTENT_TYPE), ("User-Agent", USER_AGENT)]
        if "hub" in subscription:
            headers.append(("Link", link(hub=subscription["hub"], topic=subscription["topic"])))
        if message.secrets:
            algorithm = subscription.get("algorithm", ALGORITHMS[0])
            digest = hex_digest(message.secrets[0].encode(), message.payload, algorithm=algorithm)
            headers.append(("X-Hub-Signature", f"{algorithm}={digest}"))
        return Rendered(tuple(headers), message.payload)

    def secret_error(self, secret: str) -> str | None:
        try:
            is_valid = 1 <= len(secret.encode()) <= MAX_SECRET_BYTES and secret.isprintable()
        except UnicodeEncodeError:
            is_valid = False
        return None if is_valid else f"must be 1 to {MAX_SECRET_BYTES} bytes of printable text"


def link(*, hub: str, topic: str) -> str:
    """Return the value of the one Link header by which a topic, or an update, names its hub and itself."""
    return f'<{hub}>; rel="hub", <{topic}>; rel="self"'
