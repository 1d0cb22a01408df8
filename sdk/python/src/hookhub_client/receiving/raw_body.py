"""Verifies the formats that sign the raw body: Coregit, codmir, Sigmagit, SocialGateway, GitHub and WebSub."""

from urllib.parse import unquote_to_bytes

from .request import (
    Received,
    Request,
    VerificationFailed,
    demand_raw_body_signed,
    read_envelope,
    read_event_time,
    read_json,
)

FORM = b"payload="
# WebSub lets the hub choose. HookHub uses the first, unless a subscription asked for another one.
WEBSUB_ALGORITHMS = ("sha256", "sha384", "sha512", "sha1")


def verify_coregit(request: Request) -> Received:
    """Verify Coregit's envelope."""
    demand_raw_body_signed(request, header="x-coregit-signature")
    body = read_envelope(request.body, type_in="event", needs=["timestamp", "data"])
    # The delivery's id is only in a header, which is not signed.
    return Received(
        type=body["event"], id=None, timestamp=read_event_time(request, body["timestamp"]), data=body["data"]
    )


def verify_codmir(request: Request) -> Received:
    """Verify codmir's envelope; ``id`` is the event's id, the same at every receiver of that event."""
    demand_raw_body_signed(request, header="x-codmir-signature")
    body = read_envelope(request.body, type_in="type", needs=["id", "timestamp", "data"])
    if not isinstance(body["id"], str):
        raise VerificationFailed('The signature is valid, but "id" in the body is not a string.', code="invalid_body")
    return Received(
        type=body["type"], id=body["id"], timestamp=read_event_time(request, body["timestamp"]), data=body["data"]
    )


def verify_sigmagit(request: Request) -> Received:
    """Verify Sigmagit's JSON body."""
    demand_raw_body_signed(request, header="x-sigmagit-signature")
    event_type = request.header("x-sigmagit-event")
    return Received(type=event_type, id=None, timestamp=None, data=read_json(request.body))


def verify_social_gateway(request: Request) -> Received:
    """Verify SocialGateway's body, JSON or form-encoded."""
    return _verify_hub(request, event_header="x-socialgateway-event")


def verify_github(request: Request) -> Received:
    """Verify GitHub's body, JSON or form-encoded."""
    return _verify_hub(request, event_header="x-github-event")


def _verify_hub(request: Request, *, event_header: str) -> Received:
    # The legacy X-Hub-Signature (SHA-1) is sent as well and adds no assurance.
    demand_raw_body_signed(request, header="x-hub-signature-256")
    event_type = request.header(event_header)
    body = request.body
    # Recognize a form by the signed bytes, since Content-Type is not signed. No JSON starts like this.
    if body.startswith(FORM):
        if b"&" in body:
            raise VerificationFailed(
                'The signature is valid, but the form has fields besides "payload".', code="invalid_body"
            )
        body = unquote_to_bytes(body.removeprefix(FORM).replace(b"+", b" "))
    return Received(type=event_type, id=None, timestamp=None, data=read_json(body))


def verify_websub(request: Request) -> Received:
    """Verify a hub's request; it has no type, and names its topic only in an unsigned header."""
    demand_raw_body_signed(request, header="x-hub-signature", algorithms=WEBSUB_ALGORITHMS)
    return Received(type="", id=None, timestamp=None, data=read_json(request.body))
