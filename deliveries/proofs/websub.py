"""The verification of intent of W3C WebSub: a GET whose challenge the subscriber echoes exactly."""

from urllib.parse import urlencode, urlsplit

from deliveries.proofs.base import MAX_BODY, Ask, Asked, Proof, Question, Refused, Reply, is_echo, status_refusal
from deliveries.version import USER_AGENT

# The subscriber is told, and asked nothing.
DENIED = "denied"


class WebSub(Proof):
    """https://www.w3.org/TR/websub/#hub-verifies-intent: ``details`` holds the topic, and what else to send back."""

    slug = "websub"
    title = "WebSub"
    warns_owner = False

    def build(self, question: Question) -> Ask:
        sent = {"hub.mode": question.mode, **question.details}
        if question.mode != DENIED:
            sent["hub.challenge"] = question.challenge
        if question.lasts is not None and question.mode == "subscribe":
            sent["hub.lease_seconds"] = str(int(question.lasts.total_seconds()))
        parts = urlsplit(question.url)
        query = "&".join(filter(None, [parts.query, urlencode(sent)]))
        url = parts._replace(query=query).geturl()
        return Ask("GET", url, (("User-Agent", USER_AGENT), ("Accept", "*/*")), b"")

    def refusal(self, reply: Reply, asked: Asked) -> Refused | None:
        if (refused := status_refusal(reply.status)) is not None:
            return refused
        if len(reply.body) > MAX_BODY or not is_echo(reply.body, asked.challenge):
            return Refused("The response is not the challenge.")
        return None
