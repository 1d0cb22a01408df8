"""What a receiver is asked before anything is sent to it, and the answer that proves its URL."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from inspect import getdoc
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from deliveries.formats import standard_webhooks
from deliveries.formats.mcp_event import SUBSCRIPTION_ID
from deliveries.proofs import PROOFS, Proof, Question
from deliveries.proofs.handshake import ALLOWED_ORIGIN, ALLOWED_RATE, ORIGIN, ORIGIN_HEADER
from deliveries.proofs.mcp import SUBSCRIPTION

CHALLENGE = "3eMZfDPJ1Fh0ZBYB4yHmNaHtWb2jH2Jv0pQ0k2o3c1s"
SAMPLE = Question(
    id="019cb8b8-1e00-753a-a23d-b63dc6d7ef09",
    mode="subscribe",
    url="https://example.com/webhook",
    challenge=CHALLENGE,
    details={},
    lasts=timedelta(days=10),
    secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
    sent_at=datetime(2026, 3, 4, 12, 0, 1, tzinfo=UTC),
)
# The details with which each is asked for.
DETAILS: Mapping[str, Mapping[str, str]] = {
    "websub": {"hub.topic": "https://hooks.example.com/acme/widgets/events/push.json"},
    "mcp": {SUBSCRIPTION: "sub_2f7c"},
    "handshake": {ORIGIN: "hooks.example.com"},
}
NOTES: Mapping[str, str] = {
    **standard_webhooks.NOTES,
    "webhook-id": "Id of this request.",
    "User-Agent": "Name of the sender.",
    SUBSCRIPTION_ID: "Id of the subscription.",
    ORIGIN_HEADER: "Name of the sender, which asks for consent.",
    "hub.mode": "`subscribe`, `unsubscribe`, or `denied`, which needs no answer.",
    "hub.topic": "The topic, as the subscriber named it.",
    "hub.challenge": "A random text, which the body of the answer must be.",
    "hub.lease_seconds": "For how many seconds the subscription lasts.",
}
TEXT = {"text/plain": {"schema": {"type": "string"}, "example": CHALLENGE}}
JSON = {
    "application/json": {
        "schema": {"type": "object", "properties": {"challenge": {"type": "string"}}, "required": ["challenge"]},
        "example": {"challenge": CHALLENGE},
    }
}
ANSWERS: Mapping[str, dict[str, Any]] = {
    "challenge": {"description": "The challenge, as the body or in it: the URL is verified.", "content": TEXT | JSON},
    "mcp": {"description": "The challenge in a JSON object: the callback is verified.", "content": JSON},
    "websub": {"description": "The challenge, and nothing else: the subscriber wants this.", "content": TEXT},
    "handshake": {
        "description": "The receiver consents.",
        "headers": {
            ALLOWED_ORIGIN: {
                "required": True, "schema": {"type": "string"}, "description": "The name of the sender, or `*`.",
            },
            ALLOWED_RATE: {
                "schema": {"type": "string"}, "description": "Requests a minute, or `*`; without it, no limit.",
            },
        },
    },
}  # fmt: skip


def verifications(*, tag: str) -> dict[str, Any]:
    """Return the description of each request by which a URL is verified, by its name in the document."""
    return {f"verification-{slug}": _path_item(proof, tag=tag) for slug, proof in PROOFS.items()}


def _path_item(proof: Proof, *, tag: str) -> dict[str, Any]:
    ask = proof.build(SAMPLE._replace(details=DETAILS.get(proof.slug, {})))
    query = [(name, value, "query") for name, value in parse_qsl(urlsplit(ask.url).query)]
    headers = [(name, value, "header") for name, value in ask.headers if name not in {"Content-Type", "Accept"}]
    operation = {
        "operationId": f"receive_verification_{proof.slug}",
        "summary": f"Verify that a URL wants deliveries: {proof.title}",
        "description": getdoc(type(proof)) or proof.title,
        "tags": [tag],
        "security": [],
        "parameters": [_parameter(*each) for each in (*query, *headers)],
        "responses": {
            "2XX": ANSWERS.get(proof.slug, {"description": "The URL is verified."}),
            "default": {"description": "The URL stays unverified; nothing is sent to it."},
        },
    }
    if ask.body:
        body = json.loads(ask.body)
        schema = {
            "type": "object",
            "properties": {"type": {"const": body["type"]}, "challenge": {"type": "string"}},
            "required": ["type", "challenge"],
        }
        operation["requestBody"] = {
            "required": True, "content": {"application/json": {"schema": schema, "example": body}},
        }  # fmt: skip
    return {ask.method.lower(): operation}


def _parameter(name: str, value: str, place: str) -> dict[str, Any]:
    # Only subscribers that sent a secret can check a signature, and only a subscription has a lease.
    is_required = name not in {"webhook-signature", "hub.lease_seconds", "hub.challenge"}
    return {
        "name": name,
        "in": place,
        "required": is_required,
        "schema": {"type": "string"},
        "example": value,
        **({"description": NOTES[name]} if name in NOTES else {}),
    }
