"""The API's resources for an organization's people: alerts and links to the portal."""

# Made by `make sdk` from ../aio/portal.py, which is the one to change.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from .encoding import Json, given, path_of
from .transport import Transport


class AlertChannels:
    """``client.alert_channels``: where alerts are sent; every method raises HookHubError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, type: str, *, settings: Mapping[str, Any] | None = None) -> Json:
        """Create a channel and return it; ``settings`` holds its ``recipients`` or its ``url``, and any other field."""
        return self._transport.json("POST", "alert-channels", body={"type": type, **(settings or {})})

    def list(self, *, page_size: int | None = None) -> Iterator[Json]:
        """Yield all channels, fetching pages as needed."""
        return self._transport.pages("alert-channels", {"limit": page_size})

    def get(self, channel: str) -> Json:
        """Return one channel by its id."""
        return self._transport.json("GET", path_of("alert-channels", channel))

    def update(self, channel: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed channel."""
        return self._transport.json("PATCH", path_of("alert-channels", channel), body=changes)

    def delete(self, channel: str) -> None:
        """Delete a channel; a 404 after a lost response counts as success."""
        self._transport.call("DELETE", path_of("alert-channels", channel), done_status=404)

    def test(self, channel: str) -> Json:
        """Send a test alert through the channel and return the alert."""
        return self._transport.json("POST", path_of("alert-channels", channel, "test"))

    def rotate_secret(self, channel: str, *, overlap: timedelta | None = None) -> Json:
        """Make a new secret for a channel of type ``webhook``, and return the channel with it as ``secret``.

        Alerts are signed with the old secret as well until the ``overlap`` ends, one day unless the server is
        configured otherwise. Not retried after a timeout.
        """
        seconds = None if overlap is None else int(overlap.total_seconds())
        body = given({"overlap": seconds}) or None
        return self._transport.json("POST", path_of("alert-channels", channel, "rotate-secret"), body=body)


class Alerts:
    """``client.alerts``: the alerts that were sent; every method raises HookHubError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        webhook: str | None = None,
        channel: str | None = None,
        kind: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Json]:
        """Yield the alerts that match every given filter, newest first, fetching pages as needed."""
        filters = {"webhook": webhook, "channel": channel, "kind": kind, "limit": page_size}
        return self._transport.pages("alerts", filters)

    def get(self, alert: str) -> Json:
        """Return one alert by its id."""
        return self._transport.json("GET", path_of("alerts", alert))


class PortalSessions:
    """``client.portal_sessions``: links by which people manage webhooks; every method raises HookHubError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        scope: Mapping[str, Any] | None = None,
        role: str | None = None,
        expires_in: timedelta | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Json:
        """Create a session and return it; ``url`` is the link, and is in this response only.

        ``scope`` limits what it shows, and ``role`` is ``read`` (the default) or ``manage``. ``settings`` holds any
        other field, such as ``theme``, ``locale`` and ``return_url``.
        """
        seconds = None if expires_in is None else int(expires_in.total_seconds())
        fields = {"scope": scope, "role": role, "expires_in": seconds, **(settings or {})}
        return self._transport.json("POST", "portal-sessions", body=given(fields))

    def list(self, *, page_size: int | None = None) -> Iterator[Json]:
        """Yield the sessions, fetching pages as needed."""
        return self._transport.pages("portal-sessions", {"limit": page_size})

    def get(self, session: str) -> Json:
        """Return one session by its id."""
        return self._transport.json("GET", path_of("portal-sessions", session))

    def revoke(self, session: str) -> None:
        """End a session at once; a 404 after a lost response counts as success."""
        self._transport.call("DELETE", path_of("portal-sessions", session), done_status=404)
