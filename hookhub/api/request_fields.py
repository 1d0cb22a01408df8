"""Reads the fields of requests to `/v1`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deliveries.db.lookups import find_one
from deliveries.models import Organization, Repository
from hookhub.http.refusals import invalid

if TYPE_CHECKING:
    from rest_framework.serializers import BaseSerializer

# The longest time, in seconds, for which previous secrets may keep signing.
MAX_OVERLAP = 30 * 24 * 3600


def repository_of(organization: Organization, name: object) -> Repository:
    """Return the organization's repository with this name, short or full; raise a 422 if there is none."""
    owner, _, short = str(name).rpartition("/")
    known = owner in {"", organization.slug} and "\0" not in short
    repository = find_one(Repository.objects.filter(organization=organization, name=short)) if known else None
    if repository is None:
        raise invalid(
            {"repository": f"{organization.slug} has no such repository; create it with POST /v1/repositories"}
        )
    return repository


def fields_of(data: object) -> dict[str, Any]:
    """Return the fields of a JSON object, none for an empty body; raise a 422 for any other JSON."""
    if isinstance(data, Mapping):
        return dict(data)
    raise invalid({"body": "must be a JSON object"})


def require_known_fields(fields: Mapping[str, object], *names: str) -> None:
    """Raise a 422 for unknown fields: a misspelled one must not pass for an absent one."""
    if unknown := fields.keys() - set(names):
        raise invalid(dict.fromkeys(map(str, unknown), f"is not a known field; known fields: {', '.join(names)}"))


def read_active(fields: dict[str, Any]) -> bool | None:
    """Remove ``active`` from the fields and return it, or None if it is absent; raise a 422 unless it is a boolean."""
    if "active" not in fields:
        return None
    active = fields.pop("active")
    if not isinstance(active, bool):
        raise invalid({"active": "must be true or false"})
    return active


def read_overlap(fields: Mapping[str, object]) -> timedelta | None:
    """Return for how long previous secrets keep signing, None for the default; raise a 422 unless it is an integer."""
    overlap = fields.get("overlap")
    if overlap is None:
        return None
    if isinstance(overlap, bool) or not isinstance(overlap, int) or not 0 <= overlap <= MAX_OVERLAP:
        raise invalid({"overlap": f"must be an integer from 0 to {MAX_OVERLAP}, in seconds"})
    return timedelta(seconds=overlap)


def validated(serializer: "BaseSerializer[Any]") -> dict[str, Any]:
    """Return the valid fields of a request; raise a 422 for invalid ones, and for those that cannot be set.

    Ignoring a misspelled one would look like success.
    """
    fields = getattr(serializer, "fields", {})
    settable = [field for field in fields if not fields[field].read_only]
    unknown = {
        str(field): f"cannot be set; fields that can be set: {', '.join(settable)}"
        for field in serializer.initial_data
        if field not in settable
    }
    if unknown:
        raise invalid(unknown)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
