"""Links to this deployment, with the path prefix it is served under, and absolute where they must be.

The prefix comes from the server as SCRIPT_NAME. Paths given here are without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from django.conf import settings
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix
from django.utils.encoding import escape_uri_path

# The prefix of the project that HookHub is a part of, while a request to it is handled; None in the service.
_prefix_of_project: ContextVar[str | None] = ContextVar("prefix_of_project", default=None)


class HasAbsoluteURI(Protocol):
    """The part of a request that building an absolute URL needs."""

    def build_absolute_uri(self, location: str | None = None) -> str:
        """Return an absolute URL on the host that the request was sent to."""
        ...


def path_of(path: str) -> str:
    """Return a path of this deployment with the prefix prepended."""
    return f"{escape_uri_path(get_script_prefix().rstrip('/'))}{path}"


def url_of(path: str, request: HasAbsoluteURI) -> str:
    """Return the absolute URL of a path of this deployment, on the host that the client called."""
    return request.build_absolute_uri(path_of(path))


@contextmanager
def part_of(prefix: str) -> Iterator[None]:
    """Handle a request as part of a project that is served under ``prefix``."""
    token = _prefix_of_project.set(prefix)
    try:
        yield
    finally:
        _prefix_of_project.reset(token)


@contextmanager
def _in_project() -> Iterator[None]:
    """Resolve names as the project does, also while a request to HookHub is handled."""
    here, prefix = get_script_prefix(), _prefix_of_project.get()
    set_script_prefix(here if prefix is None else prefix)
    try:
        yield
    finally:
        set_script_prefix(here)


def admin_page() -> str | None:
    """Return the path of the project's admin, or None if it has none."""
    with _in_project():
        try:
            return reverse("admin:index", urlconf=settings.ROOT_URLCONF)
        except NoReverseMatch:
            return None


def login_page() -> str:
    """Return the path of the project's login."""
    with _in_project():
        try:
            return reverse(settings.LOGIN_URL, urlconf=settings.ROOT_URLCONF)
        except NoReverseMatch:
            return resolve_url(settings.LOGIN_URL)


def public_url(request: HasAbsoluteURI) -> str:
    """Return the URL of this deployment as the settings name it, or else as the client called it."""
    configured: str = settings.HOOKHUB_PUBLIC_URL
    return configured or url_of("/", request).removesuffix("/")
