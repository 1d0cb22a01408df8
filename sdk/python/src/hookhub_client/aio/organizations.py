"""The API's resources about an organization: repositories, event types, API keys, the audit log and the deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hookhub_client.aio.transport import AsyncTransport
from hookhub_client.client.encoding import Json, given, path_of, query_of
from hookhub_client.client.responses import rows_of


class Organizations:
    """``client.organizations``: those that the key can see; every method raises HookHubError."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, slug: str, *, name: str | None = None, settings: Mapping[str, Any] | None = None) -> Json:
        """Create an organization and return it; for operators' keys only. ``settings`` holds any other field."""
        return await self._transport.json(
            "POST", "organizations", body=given({"slug": slug, "name": name, **(settings or {})})
        )

    def list(self, *, page_size: int | None = None) -> AsyncIterator[Json]:
        """Yield all organizations that the key can see, fetching pages as needed."""
        return self._transport.pages("organizations", {"limit": page_size})

    async def get(self, organization: str) -> Json:
        """Return one organization by its slug."""
        return await self._transport.json("GET", path_of("organizations", organization))

    async def update(self, organization: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed organization."""
        return await self._transport.json("PATCH", path_of("organizations", organization), body=changes)

    async def timeseries(
        self,
        organization: str,
        *,
        step: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Json:
        """Return the organization's statistics by ``step``, which is ``hour`` (the default) or ``day``."""
        query = {"step": step, "after": after, "before": before}
        return await self._transport.json("GET", path_of("organizations", organization, "timeseries"), query=query)

    async def portal_settings(self, organization: str) -> Json:
        """Return the look of the organization's portal."""
        return await self._transport.json("GET", path_of("organizations", organization, "portal"))

    async def update_portal_settings(self, organization: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields of the portal's look and return it."""
        return await self._transport.json("PATCH", path_of("organizations", organization, "portal"), body=changes)


class Repositories:
    """``client.repositories``: what events are about; every method raises HookHubError."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, name: str, *, private: bool | None = None, organization: str | None = None) -> Json:
        """Create a repository and return it; ``organization`` (a slug) is for operators' keys only."""
        fields = {"name": name, "private": private, "organization": organization}
        return await self._transport.json("POST", "repositories", body=given(fields))

    def list(self, *, page_size: int | None = None) -> AsyncIterator[Json]:
        """Yield all repositories, fetching pages as needed."""
        return self._transport.pages("repositories", {"limit": page_size})

    async def get(self, repository: str) -> Json:
        """Return one repository by its name."""
        return await self._transport.json("GET", path_of("repositories", repository))

    async def update(self, repository: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed repository."""
        return await self._transport.json("PATCH", path_of("repositories", repository), body=changes)

    async def delete(self, repository: str) -> None:
        """Delete a repository with its webhooks; a 404 after a lost response counts as success."""
        await self._transport.call("DELETE", path_of("repositories", repository), done_status=404)


class EventTypes:
    """``client.event_types``: the catalogue of event types; every method raises HookHubError."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self, type: str, *, description: str | None = None, schema: Mapping[str, Any] | None = None, example: Any = None
    ) -> Json:
        """Register an event type and return it; ``schema`` is a JSON Schema of its data."""
        fields = {"type": type, "description": description, "schema": schema, "example": example}
        return await self._transport.json("POST", "event-types", body=given(fields))

    async def list(self, *, dialect: str | None = None) -> Sequence[Json]:
        """Return the event types: those of a dialect, and the organization's own."""
        response = await self._transport.call("GET", "event-types", query=query_of({"dialect": dialect}))
        return rows_of(response, "results")

    async def get(self, type: str, *, dialect: str | None = None) -> Json:
        """Return one event type with its schema and its example."""
        return await self._transport.json("GET", path_of("event-types", type), query={"dialect": dialect})

    async def update(self, type: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed event type."""
        return await self._transport.json("PATCH", path_of("event-types", type), body=changes)

    async def delete(self, type: str) -> None:
        """Delete an event type; a 404 after a lost response counts as success."""
        await self._transport.call("DELETE", path_of("event-types", type), done_status=404)


class ApiKeys:
    """``client.api_keys``: the organization's API keys; every method raises HookHubError.

    ``api_key`` is the id of a key, which is not secret. The text of a key, ``key``, is in the response that creates or
    rolls it, and cannot be read later.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        scope: str,
        name: str | None = None,
        expires_at: datetime | None = None,
        allowed_networks: Sequence[str] | None = None,
    ) -> Json:
        """Create a key and return it with its text, ``key``; not retried after a timeout."""
        networks = None if allowed_networks is None else list(allowed_networks)
        fields = {"scope": scope, "name": name, "expires_at": expires_at, "allowed_networks": networks}
        return await self._transport.json("POST", "api-keys", body=given(fields))

    def list(self, *, page_size: int | None = None) -> AsyncIterator[Json]:
        """Yield all keys, fetching pages as needed."""
        return self._transport.pages("api-keys", {"limit": page_size})

    async def get(self, api_key: str) -> Json:
        """Return one key."""
        return await self._transport.json("GET", path_of("api-keys", api_key))

    async def update(self, api_key: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed key."""
        return await self._transport.json("PATCH", path_of("api-keys", api_key), body=changes)

    async def roll(self, api_key: str, *, overlap: timedelta | None = None, expires_at: datetime | None = None) -> Json:
        """Replace the text of a key and return it; the old text works until the ``overlap`` ends. Not retried."""
        seconds = None if overlap is None else int(overlap.total_seconds())
        body = given({"overlap_seconds": seconds, "expires_at": expires_at}) or None
        return await self._transport.json("POST", path_of("api-keys", api_key, "roll"), body=body)

    async def revoke(self, api_key: str) -> None:
        """Revoke a key at once; a 404 after a lost response counts as success."""
        await self._transport.call("DELETE", path_of("api-keys", api_key), done_status=404)


class AuditLog:
    """``client.audit_log``: who changed what; every method raises HookHubError."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        action: str | None = None,
        actor: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Json]:
        """Yield the entries that match every given filter, newest first, fetching pages as needed."""
        filters = {"action": action, "actor": actor, "target": target, "since": since, "until": until}
        return self._transport.pages("audit", {**filters, "limit": page_size})
