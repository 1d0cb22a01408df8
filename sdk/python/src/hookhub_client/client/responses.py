"""Reads responses: the JSON of a successful one, and the error of a failed one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import parse_qsl

from .encoding import Json, Response, parse_rfc3339, text
from .errors import ConnectionFailed, HookHubError
from .events import PublishedEvent

# None for 409: the API's message states the conflict and the remedy, which differ from resource to resource.
ADVICE = {
    401: "Check the API key.",
    403: "Use an API key that permits this request.",
    404: "Check the id or name, and the base URL.",
    413: "Make the event smaller: link to large content instead of embedding it.",
    429: "Reduce the request rate.",
}


def json_object(response: Response) -> Json:
    """Return the JSON object of a successful response; raise HookHubError if it holds none."""
    try:
        parsed = json.loads(response.content)
    # JSON nested too deeply raises RecursionError instead of ValueError.
    except (ValueError, RecursionError):
        raise not_hookhub(response) from None
    if not isinstance(parsed, dict):
        raise not_hookhub(response)
    return parsed


def rows_of(response: Response, name: str) -> list[Json]:
    """Return the JSON objects that a successful response lists; raise HookHubError if it does not."""
    return _rows(json_object(response).get(name), response)


def receipts(response: Response, *, expected: int) -> list[PublishedEvent]:
    """Return the receipts of published events; raise HookHubError unless there are as many as were sent."""
    replayed = response.headers.get("Idempotent-Replayed") == "true"
    try:
        events = [
            PublishedEvent(
                id=text(each["id"]),
                type=text(each["type"]),
                accepted_at=parse_rfc3339(each["accepted_at"]),
                replayed=replayed,
            )
            for each in json_object(response)["events"]
        ]
    except (LookupError, TypeError, ValueError, OverflowError):
        raise not_hookhub(response) from None
    if len(events) != expected:
        raise not_hookhub(response)
    return events


def page_of(
    response: Response, *, before: Sequence[tuple[str, str]]
) -> tuple[list[Json], list[tuple[str, str]] | None]:
    """Return the results of a page of a list, and the query of the next page, or None if it is the last.

    ``before`` is the query of this page. Raise HookHubError if it is no page.
    """
    page = json_object(response)
    rows, following = _rows(page.get("results"), response), page.get("next")
    if not following:
        return rows, None
    if not isinstance(following, str):
        raise not_hookhub(response)
    # Take only the query from the link: behind a proxy the server may not know its public address, and the key must
    # not be sent to any other host.
    query = parse_qsl(following.partition("#")[0].partition("?")[2])
    if query == list(before):
        # A link back to the same page would loop forever.
        raise not_hookhub(response)
    return rows, query


def _rows(listed: object, response: Response) -> list[Json]:
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise not_hookhub(response)
    return listed


def not_hookhub(response: Response) -> HookHubError:
    """Return the error for a successful response that the API cannot have sent."""
    status = response.status_code
    message = f"{response.url} answered {status}, but not with a HookHub API response: {_beginning(response)}"
    return HookHubError(message, status=status, code="not_hookhub", advice="Check the base URL.")


def rejection(response: Response, *, may_repeat: bool) -> HookHubError:
    """Return the error for a response that is not successful; ``may_repeat`` if repeating the request is safe."""
    status = response.status_code
    if 300 <= status < 400:
        message = f"{response.url} redirects to {str(response.headers.get('Location'))[:200]}"
        return HookHubError(message, status=status, code="redirected", advice="Use that address as the base URL.")
    advice = ADVICE.get(status, "")
    if status >= 500:
        advice = "Retry later." if may_repeat else "The request may have taken effect; check before you retry."
    try:
        error = json.loads(response.content)["error"]
        fields = [(text(each["field"]), text(each["message"])) for each in error.get("fields") or ()]
        message, code = text(error["message"]), text(error["code"])
        return HookHubError(message, status=status, code=code, fields=fields, advice=advice)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = f"not a HookHub API response: {_beginning(response)}"
        return HookHubError(message, status=status, code="unknown", advice=advice)


def no_response(error: Exception, *, base: str, attempts: int) -> ConnectionFailed:
    """Return the error for a request without a response."""
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    # Some errors of a connection have no text.
    message = f"no response from {base}{tried}: {str(error) or type(error).__name__}"
    return ConnectionFailed(
        message, status=None, code="connection_failed", advice="Check the base URL, and that HookHub is running."
    )


def _beginning(response: Response) -> str:
    return repr(response.content[:200].decode(errors="replace"))
