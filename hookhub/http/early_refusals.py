"""Errors answered before Django's views, where no renderer has been chosen: JSON for programs, a page for browsers."""

import html
import json
from typing import NamedTuple

# Sent with every refusal, because it may be a page: it loads nothing, cannot be framed, and is not cached.
REFUSAL_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)


class EarlyRefusal(NamedTuple):
    """A response made without the application: HTTP status, code for programs, message for people."""

    status: int
    code: str
    message: str


def render_refusal(refusal: EarlyRefusal, *, accept: str) -> tuple[str, bytes]:
    """Return a refusal's media type and content: HTML for browsers, the API's JSON error for programs."""
    if "text/html" in accept:
        page = f"<!doctype html><title>{refusal.status}</title><p>{html.escape(refusal.message)}</p>"
        return "text/html; charset=utf-8", page.encode()
    error = {"code": refusal.code, "message": refusal.message, "fields": []}
    return "application/json", json.dumps({"error": error}).encode()
