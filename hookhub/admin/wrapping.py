"""What a request to one of HookHub's pages has in any admin: an actor for the audit log, and messages kept sealed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.urls import URLPattern

from deliveries import audit
from hookhub.admin.sealed_messages import SealedSessionStorage
from hookhub.http.actors import actor_of_session


def wrapped(pattern: URLPattern) -> URLPattern:
    """Return the pattern of a page with what the service's middleware and settings do, which a project need not have.

    Some messages show a new key or secret. A project's own messages may be kept in a cookie, and wait for its own pages
    meanwhile.
    """
    return URLPattern(pattern.pattern, _wrapped(pattern.callback), pattern.default_args, pattern.name)


def _wrapped(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(getattr(request, "_messages", None), SealedSessionStorage):
            request._messages = SealedSessionStorage(request)  # type: ignore[attr-defined]  # noqa: SLF001 - as Django
        with audit.acting(lambda: actor_of_session(request)):
            return view(request, *args, **kwargs)

    return answer
