"""Validation of a webhook's fields: each value that an owner sets is checked and converted to its stored form."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from math import isnan

from django.conf import settings
from django.utils.dateparse import parse_datetime

from deliveries import plain_text
from deliveries.event_types.topics import EVERYTHING, TYPE_RULE, is_type
from deliveries.formats import FORMATS, MASK
from deliveries.policy import filters, hops, rate_limits, trace_context
from deliveries.proofs import OWNERS as PROOFS
from deliveries.proofs.handshake import ORIGIN_HEADER
from deliveries.sending import url
from deliveries.sending.own_hosts import own_hosts_from_settings
from deliveries.sending.sender import policy_from_settings
from deliveries.webhooks.masks import SEND_THE_SECRET, is_masked_url

Fields = dict[str, object]

MAX_EVENTS = 200
MAX_HEADERS = 20
MAX_RETRIES = 20
MAX_RETRY_WAIT = timedelta(days=7)
MAX_IN_FLIGHT = 1000
MAX_SECONDS = 10**9

# RFC 9110: a name is a token; a value is visible ASCII, with spaces and tabs allowed except at its ends.
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[!-~]([ -~\t]*[!-~])?")
MAX_HEADER_LENGTH = 2000
# Characters that JSON allows and a PostgreSQL text cannot hold: NUL and unpaired surrogates.
UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")
# Headers that control the connection; only the sender sets them.
CONNECTION_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)

# Headers that HookHub sends itself, whatever the format, and why.
OWN_HEADERS = {
    hops.HEADER.lower(): "to detect loops",
    ORIGIN_HEADER.lower(): "to a receiver that has consented to it",
    trace_context.TRACEPARENT: "to pass on the publisher's trace",
    trace_context.TRACESTATE: "to pass on the publisher's trace",
}


class InvalidFields(ValueError):
    """One or more fields are invalid. ``errors`` maps each field name to the error, a sentence without its subject."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))
        self.errors = dict(errors)


def validate(fields: Mapping[str, object], *, current_format: str | None = None) -> Fields:
    """Validate a webhook's fields and return them as they are stored. Raise InvalidFields with every invalid field.

    ``current_format`` is the format of the webhook being changed; a ``format`` in ``fields`` takes precedence. The
    result has the keys of ``fields``, or the columns of those that are stored otherwise. Numbers of seconds are
    converted to timedeltas, and the URL is normalized.
    """
    cleaned: Fields = {}
    errors: dict[str, str] = {}
    slug = fields.get("format", current_format)
    for name, value in fields.items():
        validator = VALIDATORS.get(name)
        if validator is None:
            errors[name] = f"is not a known field; known fields: {', '.join(VALIDATORS)}"
            continue
        try:
            cleaned |= _columns(name, validator(value, slug if isinstance(slug, str) else ""))
        except rate_limits.InvalidRateLimit as error:
            errors |= {f"{name}.{part}": message for part, message in error.errors.items()}
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise InvalidFields(errors)
    return cleaned


def require_known_format(slug: str) -> None:
    """Raise InvalidFields if this version does not know the format."""
    if slug not in FORMATS:
        error = f"{slug} is unknown to this version of HookHub; upgrade, or choose another format"
        raise InvalidFields({"format": error})


def as_headers(value: object) -> dict[str, str]:
    """Return validated custom headers; {} for anything else."""
    return value if isinstance(value, dict) else {}


def check_url(value: object, *, resolve: url.Resolve | None) -> str:
    """Return a URL normalized; raise ValueError if it is invalid, or not allowed for a webhook.

    ``resolve`` looks up its host's addresses. Without it, a host name is judged only when it is connected to.
    """
    # Checked for every format, because the masked URL may come from a webhook with another one.
    if isinstance(value, str) and is_masked_url(value):
        raise ValueError("is masked; send the full URL")
    checked = url.check(value, policy=policy_from_settings(), https_only=settings.HOOKHUB_HTTPS_ONLY, resolve=resolve)
    if (reason := own_hosts_from_settings().reason_against(checked)) is not None:
        raise ValueError(reason)
    return checked


def _url(value: object, _slug: str) -> str:
    return check_url(value, resolve=url.resolve_quickly)


def _events(value: object, _slug: str) -> list[str]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('must be a list of at least one event type, or ["*"] for all')
    if len(value) > MAX_EVENTS:
        raise ValueError(f"must contain at most {MAX_EVENTS} event types")
    for event in value:
        if not isinstance(event, str) or not (event == EVERYTHING or is_type(event)):
            raise ValueError(f"{str(event)[:100]!r} is not a valid event type: {TYPE_RULE}")
    return list(dict.fromkeys(value))


def _format(value: object, _slug: str) -> str:
    if not isinstance(value, str) or value not in FORMATS:
        raise ValueError(f"must be one of: {', '.join(FORMATS)}")
    return value


def _content_type(value: object, slug: str) -> str:
    possible = FORMATS[slug].content_types if slug in FORMATS else ("json",)
    if not isinstance(value, str) or value not in possible:
        raise ValueError(f"must be one of: {', '.join(possible)}")
    return value


def _secret(value: object, slug: str) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - validate() collects ValueError only
    # The mask would be a valid secret in most formats, and it is public.
    if value == MASK:
        raise ValueError(SEND_THE_SECRET)
    wire_format = FORMATS.get(slug)
    if wire_format is None or (value == "" and wire_format.secret_policy.allows_none):
        return value
    if not wire_format.secret_policy.allows_secret:
        raise ValueError(f"cannot be set: the format {slug} does not sign requests")
    if (error := wire_format.secret_error(value)) is not None:
        raise ValueError(error)
    return value


def _headers(value: object, slug: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must be an object of header names and values")  # noqa: TRY004 - as above
    if len(value) > MAX_HEADERS:
        raise ValueError(f"must contain at most {MAX_HEADERS} headers")
    reserved = FORMATS[slug].reserved_headers if slug in FORMATS else frozenset()
    for name, text in value.items():
        if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
            raise ValueError(f"{str(name)[:100]!r} is not a valid header name")
        lowered = name.lower()
        if lowered in CONNECTION_HEADERS or lowered.startswith("proxy-"):
            raise ValueError(f"{name} cannot be set: it controls the connection")
        if lowered in OWN_HEADERS:
            raise ValueError(f"{name} cannot be set: HookHub sends this header itself, {OWN_HEADERS[lowered]}")
        if lowered in reserved:
            raise ValueError(f"{name} cannot be set: the format {slug} sends this header itself")
        if (error := _header_value_error(text)) is not None:
            raise ValueError(f"the value of {name} {error}")
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("must not contain a header twice; names are case-insensitive")
    return dict(value)


def _header_value_error(value: object) -> str | None:
    if value is None:
        return "is null; to remove a header, use PATCH /v1/webhooks/{id}/headers"
    if value == MASK:
        return "is masked; send the value itself"
    is_valid = isinstance(value, str) and len(value) <= MAX_HEADER_LENGTH and HEADER_VALUE.fullmatch(value)
    return None if is_valid else "must be 1 to 2,000 visible ASCII characters, with spaces and tabs only in between"


def _retry_schedule(value: object, _slug: str) -> list[timedelta] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) > MAX_RETRIES:
        raise ValueError(
            f"must be a list of at most {MAX_RETRIES} delays in seconds, [] for no retries, or null for the default"
        )
    waits = [_seconds(wait) for wait in value]
    if any(not timedelta(seconds=1) <= wait <= MAX_RETRY_WAIT for wait in waits):
        raise ValueError(f"each delay must be from 1 to {MAX_RETRY_WAIT // timedelta(seconds=1)} seconds")
    return waits


def _timeout(value: object, _slug: str) -> timedelta | None:
    if value is None:
        return None
    most: timedelta = settings.HOOKHUB_MAX_TIMEOUT
    timeout = _seconds(value)
    if not timedelta(seconds=1) <= timeout <= most:
        raise ValueError(f"must be a number of seconds from 1 to {most.total_seconds():g}, or null for the default")
    return timeout


def _seconds(value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and isnan(value)):
        raise ValueError(f"{str(value)[:100]!r} is not a number of seconds")
    # The caller refuses what is beyond its range, which a timedelta may not be able to hold.
    return timedelta(seconds=min(max(value, -1), MAX_SECONDS))


def _max_in_flight(value: object, _slug: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_IN_FLIGHT:
        raise ValueError(f"must be an integer from 1 to {MAX_IN_FLIGHT}, or null for the default")
    return value


def _flag(value: object, _slug: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - as above
    return value


def _verify_ssl(value: object, slug: str) -> bool:
    verifies = _flag(value, slug)
    if not verifies and settings.HOOKHUB_REQUIRE_TLS_VERIFICATION:
        raise ValueError("must be true: HOOKHUB_REQUIRE_TLS_VERIFICATION is enabled")
    return verifies


def _name(value: object, _slug: str) -> str:
    if not isinstance(value, str) or len(value) > 200 or UNSTORABLE.search(value):
        raise ValueError("must be a string of at most 200 characters, without NUL or unpaired surrogates")
    if error := plain_text.error_in(value):
        raise ValueError(error)
    return value


def _verify(value: object, _slug: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in PROOFS:
        possible = " or ".join([f'"{proof}"' for proof in PROOFS])
        raise ValueError(f"must be {possible}, or null for no verification")
    return value


def _expires_at(value: object, _slug: str) -> datetime | None:
    if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
        return value
    try:
        # The parser would stop at a NUL, and takes T and Z in upper case only, unlike RFC 3339.
        moment = parse_datetime(value.upper()) if isinstance(value, str) and value.isprintable() else None
        # In UTC, the last hours of the year 9999 may be beyond what Python and RFC 3339 can write.
        found = None if moment is None or moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ValueError("must be a time in RFC 3339 form with a time zone, or null for no end")
    return found


def _columns(name: str, value: object) -> Fields:
    """Return the columns of a field with its validated value."""
    match name:
        case "filter":
            return {"payload_filter": value}
        case "rate_limit":
            requests, per = value if isinstance(value, rate_limits.RateLimit) else (None, None)
            return {"rate_requests": requests, "rate_per": per}
    return {name: value}


VALIDATORS: dict[str, Callable[[object, str], object]] = {
    "url": _url,
    "events": _events,
    "format": _format,
    "content_type": _content_type,
    "secret": _secret,
    "headers": _headers,
    "verify_ssl": _verify_ssl,
    "retry_schedule": _retry_schedule,
    "timeout": _timeout,
    "max_in_flight": _max_in_flight,
    "rate_limit": lambda value, _slug: None if value is None else rate_limits.check(value),
    "auto_disable": _flag,
    "name": _name,
    "verify": _verify,
    "expires_at": _expires_at,
    "filter": lambda value, _slug: None if value is None else filters.stored(filters.check(value)),
}
