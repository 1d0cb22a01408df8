"""Checks an installation against HookHub with one request that publishes nothing."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

from hookhub.git.sending import Response, Unavailable, post
from hookhub.git.settings import Settings

# The names that a repository at HookHub can have.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MEANWHILE = "Until then, pushes are queued in the spool."
_OK, _CREATED, _CONFLICT = 200, 201, 409
_UNAUTHENTICATED, _FORBIDDEN = 401, 403


@dataclass(frozen=True)
class CheckResult:
    """The result of a check: whether pushes will be published with these settings, and a message for the user."""

    is_ok: bool
    message: str


def _good(message: str) -> CheckResult:
    return CheckResult(is_ok=True, message=message)


def _bad(message: str) -> CheckResult:
    return CheckResult(is_ok=False, message=message)


def check(settings: Settings) -> CheckResult:
    """Check the URL, the API key and the repository name."""
    name = settings.identity.name
    event: dict[str, object] = {"type": "push", "repository": name, "data": {}}
    answer = _post("/v1/events/validate", event, settings)
    if isinstance(answer, Unavailable):
        return _bad(f"{answer.problem}. Pushes are queued in the spool until HookHub is reachable.")
    if answer.status == _OK and answer.error is None:
        return _good(f"{settings.url} is reachable and accepts events for {name} with this key.")
    if answer.error is None:
        return _bad(f"{settings.url}: {answer}")
    if answer.status == _UNAUTHENTICATED:
        return _bad(f"{settings.url} rejected the API key: {answer.error}")
    if answer.status == _FORBIDDEN:
        return _bad(f"This API key is not allowed to publish: {answer.error}")
    if answer.error.is_about_repository:
        hint = "Pass the exact name with --repository." if answer.error.is_about_case else how_to_create(settings)
        return _bad(f"{answer.error}\n{hint}")
    if answer.error.is_about_content:
        # Only the organization's own schemas can reject this made-up event; real events may match them.
        return _good(
            f"{settings.url} is reachable and accepts this key. It validates events against schemas, and rejected the "
            f"empty test event: {answer.error}"
        )
    return _bad(f"{settings.url}: {answer}")


def create(settings: Settings) -> CheckResult:
    """Create the repository at HookHub, unless it exists already."""
    identity = settings.identity
    body: dict[str, object] = {"name": identity.short, "private": identity.private}
    if identity.owner:
        body["organization"] = identity.owner
    answer = _post("/v1/repositories", body, settings)
    if isinstance(answer, Unavailable):
        return _bad(f"Repository {identity.name} was not created: {answer.problem}")
    if answer.status == _CREATED:
        return _good(f"Created repository {identity.name}.")
    if answer.status == _CONFLICT and answer.error is not None and not answer.error.is_about_case:
        return _good(f"Repository {identity.name} already exists.")
    hint = f"\n{how_to_create(settings)}" if answer.status in (_UNAUTHENTICATED, _FORBIDDEN) else ""
    return _bad(f"Repository {identity.name} was not created: {answer}{hint}")


def how_to_create(settings: Settings) -> str:
    """Return instructions to create the repository, which takes a key of a wider scope than the hook's."""
    identity = settings.identity
    if not _NAME.fullmatch(identity.short):
        return f"HookHub cannot have a repository of that name. Install again with --repository NAME. {_MEANWHILE}"
    body = {"name": identity.short, **({"organization": identity.owner} if identity.owner else {})}
    return (
        "Create it with --create and a key with the scope manage, or with:\n"
        f'  curl {shlex.quote(f"{settings.url}/v1/repositories")} -H "Authorization: Bearer $KEY" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}\n"
        f"{_MEANWHILE}"
    )


def _post(path: str, body: dict[str, object], settings: Settings) -> Response | Unavailable:
    return post(
        path,
        json.dumps(body).encode(),
        "application/json",
        url=settings.url,
        api_key=settings.api_key,
        timeout_seconds=settings.timeout_seconds,
    )
