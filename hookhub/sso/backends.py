"""The authentication of a deployment in which only the provider logs people in."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest


class WithoutPassword(ModelBackend):
    """Knows users and their permissions, and accepts no password."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:  # type: ignore[override]
        """Return None."""
