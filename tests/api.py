"""Clients of the REST API for the tests."""

import json
from dataclasses import dataclass, field
from typing import Any

from django.test import Client
from django.utils import timezone

from deliveries.models import Organization
from hookhub.models import ApiKey, Scope


@dataclass
class Caller:
    """A client with an API key."""

    key: str
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))
    accept: str = ""

    @classmethod
    def of(cls, organization: Organization | None, scope: Scope = Scope.MASTER, *, accept: str = "") -> "Caller":
        return cls(ApiKey.issue(organization=organization, scope=scope, now=timezone.now())[1], accept=accept)

    @property
    def headers(self) -> dict[str, str]:
        told = {"Authorization": f"Bearer {self.key}", "Accept": self.accept}
        return {name: value for name, value in told.items() if value}

    def get(self, address: str) -> Any:
        return self.client.get(address, headers=self.headers)

    def post(
        self, address: str, body: object = None, *, content_type: str = "application/json", headers: Any = None
    ) -> Any:
        return self.send("POST", address, body, content_type=content_type, headers=headers)

    def patch(self, address: str, body: object) -> Any:
        return self.send("PATCH", address, body)

    def delete(self, address: str) -> Any:
        return self.send("DELETE", address, None)

    def send(
        self, method: str, address: str, body: object, *, content_type: str = "application/json", headers: Any = None
    ) -> Any:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.generic(
            method, address, content, content_type=content_type, headers={**self.headers, **(headers or {})}
        )


def faults(answer: Any) -> dict[str, str]:
    """Return the message for each field that an error response names."""
    return {row["field"]: row["message"] for row in answer.json()["error"]["fields"]}
