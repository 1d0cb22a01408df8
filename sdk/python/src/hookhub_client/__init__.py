"""HookHub's SDK for Python: publish events, manage webhooks, and verify what they send.

    from hookhub_client import Client, verify

``AsyncClient`` needs the extra ``hookhub-client[async]``. Its methods are those of ``Client``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hookhub_client.client import Client, ConnectionFailed, Event, HookHubError, PublishedEvent, Replay
from hookhub_client.receiving import FORMATS, Received, VerificationFailed, is_from, sender_of, verify

if TYPE_CHECKING:
    from hookhub_client.aio import AsyncClient

__all__ = [
    "FORMATS", "AsyncClient", "Client", "ConnectionFailed", "Event", "HookHubError", "PublishedEvent", "Received",
    "Replay", "VerificationFailed", "is_from", "sender_of", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return AsyncClient when it is first asked for, since ``httpx`` is optional."""
    if name != "AsyncClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from hookhub_client.aio import AsyncClient  # noqa: PLC0415 - only for those who have httpx.
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ImportError("AsyncClient needs httpx; run: pip install 'hookhub-client[async]'") from None
    return AsyncClient
