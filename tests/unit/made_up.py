"""Claims and results for tests that need neither a database nor a network."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from deliveries import vault
from deliveries.pipeline.attempting import AttemptResult, build_result
from deliveries.pipeline.claims import Claim, Destination
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Request, Response
from deliveries.vault import Secret

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
WEBHOOK = "019cb8b8-1e00-7000-8000-0000000000ff"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def a_claim(**facts: Any) -> Claim:
    """Return a claim of webhook 1 with a schedule of one retry, encrypted with the settings' keys."""
    destination: dict[str, Any] = {
        "webhook_id": 1,
        "webhook_uid": WEBHOOK,
        "organization_id": 7,
        "organization": "acme",
        "repository_id": None,
        "url": "https://receiver.example/hook",
        "sealed_url": None,
        "format": "standard-webhooks",
        "content_type": "json",
        "sealed_secrets": vault.seal_secrets((Secret(SECRET),), of=WEBHOOK),
        "sealed_headers": None,
        "verify_ssl": True,
        "retry_schedule": [timedelta(minutes=1)],
        "timeout": None,
        "subscription": None,
        "request_origin": None,
        "pace_interval": None,
        "pace_lag": None,
        "slow": False,
    }
    claim: dict[str, Any] = {
        "lease": UUID("019cb8b8-1e00-7000-8000-0000000000ee"),
        "leased_until": NOW + timedelta(minutes=1),
        "delivery_id": UUID("019cb8b8-1e00-7000-8000-00000000000d"),
        "number": 1,
        "failures": 0,
        "first_attempt_at": NOW,
        "due_at": NOW,
        "event_id": "019cb8b8-1e00-7000-8000-00000000000e",
        "event_type": "push",
        "payload": b"{}",
        "occurred_at": NOW,
        "repository": "widgets",
        "hops": None,
        "starts_at": None,
    }
    destination |= {name: fact for name, fact in facts.items() if name in destination}
    claim |= {name: fact for name, fact in facts.items() if name not in destination}
    return Claim(destination=Destination(**destination), **claim)


def a_reply(status: int, *, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
    return Response(status, "", tuple((headers or {}).items()), body)


def a_result(
    came: Response | NoResponse, *, at: datetime = NOW, request_headers: tuple[tuple[str, str], ...] = (), **facts: Any
) -> AttemptResult:
    """Return the result of an attempt that ended ``at``, without jitter."""
    request = Request("https://receiver.example/hook", request_headers, b"", timedelta(seconds=1))
    exchange = Exchange(timedelta(milliseconds=5), came)
    return build_result(a_claim(**facts), request, exchange, started_at=at, now=at, jitter=0.0)
