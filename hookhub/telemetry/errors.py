"""Reports errors to Sentry: what is logged as an error, without data, secrets, requests or the values of variables."""

from typing import Any

import sentry_sdk
from django.db import DatabaseError
from psycopg import Error as DriverError
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint

from deliveries import secret_text
from deliveries.version import VERSION

# What a report says of the log record beside its message: ids, which `extra` names.
KEPT = ("delivery", "webhook", "organization", "trace")
MAX_TEXT = 500


def start(dsn: str, *, role: str) -> None:
    """Report the errors of this process from now on; raises ValueError for an invalid DSN."""
    sentry_sdk.init(
        dsn=dsn,
        release=f"hookhub@{VERSION}",
        # The SDK would otherwise wrap Django, Redis and others, and report requests, statements and arguments.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None),
            ExcepthookIntegration(),
            ThreadingIntegration(),
            DedupeIntegration(),
        ],
        include_local_variables=False,
        max_request_body_size="never",
        send_default_pii=False,
        max_breadcrumbs=0,
        before_send=scrubbed,
    )
    # For all threads; those that run already have scopes of their own.
    sentry_sdk.get_global_scope().set_tag("role", role)


def stop(*, seconds: float) -> None:
    """Send the reports that wait, for so many seconds at most."""
    sentry_sdk.flush(timeout=seconds)


def scrubbed(event: Event, hint: Hint) -> Event | None:
    """Return a report without what may be secret or a tenant's; None for a request that was refused, which is none."""
    if str(event.get("logger")).startswith("django.security."):
        return None
    report: Any = event
    for name in ("request", "user", "breadcrumbs", "modules"):
        report.pop(name, None)
    extra = report.pop("extra", None) or {}
    report["extra"] = {name: extra[name] for name in KEPT if name in extra}
    entry = report.get("logentry")
    if entry:
        text = secret_text.masked(str(entry.get("formatted") or entry.get("message") or ""))
        report["logentry"] = {"message": text[:MAX_TEXT]}
    errors = list(chain_of(hint.get("exc_info", (None, None, None))[1]))
    for shown in (report.get("exception") or {}).get("values") or ():
        shown["value"] = text_of(shown, errors)
        for frame in (shown.get("stacktrace") or {}).get("frames") or ():
            frame.pop("vars", None)
    return event


def chain_of(error: BaseException | None) -> Any:
    """Yield an exception and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def text_of(shown: dict[str, Any], errors: list[BaseException]) -> str:
    """Return what a report says of an exception: of one from the database only its code, because it quotes rows."""
    same = [one for one in errors if type(one).__name__ == shown.get("type")]
    if any(isinstance(one, DatabaseError | DriverError) for one in same):
        return next((str(code) for one in errors if (code := getattr(one, "sqlstate", None))), "")
    return secret_text.masked(str(shown.get("value") or "").partition("\n")[0])[:MAX_TEXT]
