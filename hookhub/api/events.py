"""`/v1/events`: publishing events and reading them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from deliveries import pipeline
from deliveries.db.ids import first_id_at
from deliveries.event_types.catalogue import Catalogue
from deliveries.events import NO_SNAPSHOT, IdempotencyConflict, NameSnapshot, NewEvent
from deliveries.models import Event, Organization, Repository
from deliveries.policy.hops import HEADER as HOPS
from hookhub.api.serializers import (
    EventDetailSerializer,
    EventSerializer,
    NewEventSerializer,
    ReceiptBatchSerializer,
    ReceiptSerializer,
    ValidatedSerializer,
)
from hookhub.api.webhooks import repository_of
from hookhub.event_types import registry
from hookhub.event_types.schemas import Budget
from hookhub.http import rate_limits
from hookhub.http.authorization import enter, require_scope
from hookhub.http.errors import conflict, invalid
from hookhub.http.parsers import RawParser
from hookhub.http.query import TEXT, TIME_PARAMETERS, between, known_only, read_uuid
from hookhub.http.throttling import caller_of
from hookhub.models import Scope
from hookhub.publishing import parse, repositories
from hookhub.publishing.repositories import in_another_case

# A batch appends the position of each event to the key, and the result must still fit.
MAX_HEADER_KEY_LENGTH = parse.MAX_KEY_LENGTH - 10
KEY_REUSED = "was already used with different content; use a new key for a new event"

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    # The printable characters of Latin-1, in which headers are encoded.
    {"type": "string", "pattern": "^[!-~¡-¬®-ÿ]([ -~¡-¬®-ÿ]*[!-~¡-¬®-ÿ])?$", "maxLength": MAX_HEADER_KEY_LENGTH},
    location=OpenApiParameter.HEADER,
    description="A repeated request with the same key returns the first response and publishes nothing.",
)
PUBLISHED = {
    "application/json": PolymorphicProxySerializer(
        "Published", [NewEventSerializer, NewEventSerializer(many=True)], resource_type_field_name=None, many=False
    ),
    "application/x-ndjson": {"type": "string", "description": "One event per line, as a JSON object."},
}
RECEIPTS = PolymorphicProxySerializer(
    "Receipts", [ReceiptSerializer, ReceiptBatchSerializer], resource_type_field_name=None, many=False
)


class EventsView(GenericAPIView[Event]):
    """Publish events, or list published events, newest first.

    POST takes one event, a JSON array of events, or NDJSON (`Content-Type: application/x-ndjson`), up to 1,000 events.
    Either all events of a request are accepted or none. A 202 means that the events are stored: they will be delivered
    even if processes of HookHub crash.

    To retry safely, send an `id` with each event, or an `Idempotency-Key` header. Repeating a request with the same key
    returns the first response and publishes nothing; using the key again with different content returns 409.
    """

    parser_classes = (RawParser,)
    serializer_class = NewEventSerializer
    queryset = Event.objects.none()

    @extend_schema(responses=EventSerializer(many=True), parameters=[
        OpenApiParameter("type", TEXT, description="Only events of this type."),
        OpenApiParameter("repository", TEXT, description="Only this repository's events."),
        *TIME_PARAMETERS,
    ])  # fmt: skip
    def get(self, request: Request) -> Response:
        organization = enter(request, needs=Scope.READ)
        page = self.paginate_queryset(filtered(request, organization).select_related("organization", "repository"))
        return self.get_paginated_response(EventSerializer(page, many=True).data)

    @extend_schema(
        request=PUBLISHED,
        parameters=[IDEMPOTENCY_KEY],
        responses={202: RECEIPTS},
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        require_scope(request, Scope.PUBLISH)
        # The framework turns an empty body into an empty form, without calling a parser.
        read: object = request.data
        content = read if isinstance(read, bytes) else b""
        taken = parse.read_once(request.META, content, request.content_type or "")
        organization = enter(request, needs=Scope.PUBLISH, named=named_in(taken))
        require_validity(taken, organization=organization)
        passed = parse.hops_of(request.headers.get(HOPS))
        header = request.headers.get("Idempotency-Key")
        events = published_events(
            taken,
            organization=organization,
            finish=lambda new: with_keys(new, taken, header=header, content=content),
            hops=passed,
            now=now,
        )
        caller = caller_of(request) or ""
        with rate_limits.taking_events(len(events), caller=caller, organization=organization) as standings:
            body, headers = publish(events, taken, now=now)
        return Response(body, status=202, headers=headers | rate_limits.headers_of(standings))

    def get_throttles(self) -> list[BaseThrottle]:
        """Return no throttle for POST, which is limited by events; all other methods are limited by requests."""
        return [] if self.request.method == "POST" else super().get_throttles()


class ValidateView(GenericAPIView[Event]):
    """Validate events without publishing them.

    Takes the same body and the same API keys as `POST /v1/events`, and returns the same errors, except for an
    idempotency key that was used before. Repositories that publishing would create count as existing.
    """

    parser_classes = (RawParser,)
    serializer_class = NewEventSerializer
    queryset = Event.objects.none()

    @extend_schema(
        request=PUBLISHED,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: ValidatedSerializer},
    )
    def post(self, request: Request) -> Response:
        require_scope(request, Scope.PUBLISH)
        read: object = request.data
        content = read if isinstance(read, bytes) else b""
        taken = parse.read_once(request.META, content, request.content_type or "")
        organization = enter(request, needs=Scope.PUBLISH, named=named_in(taken))
        require_validity(taken, organization=organization)
        found, missing = repositories_for(taken, organization=organization)
        expected = found | dict.fromkeys(missing, 0)
        events = new_events(taken, organization=organization, repositories=expected, now=timezone.now())
        with_keys(events, taken, header=request.headers.get("Idempotency-Key"), content=content)
        return Response({"valid": True, "organization": organization.slug, "events": len(events)})


class EventView(GenericAPIView[Event]):
    """Retrieve an event, with its data and its deliveries."""

    serializer_class = EventDetailSerializer
    queryset = Event.objects.none()

    def get(self, request: Request, uid: str) -> Response:
        organization = enter(request, needs=Scope.READ)
        event = get_object_or_404(
            Event.objects.select_related("organization", "repository"), organization=organization, id=read_uuid(uid)
        )
        return Response(EventDetailSerializer(event).data)


def filtered(request: Request, organization: Organization) -> QuerySet[Event]:
    """Return the organization's events that match the query parameters; raise a 422 for invalid ones."""
    known_only(request, "type", "repository", "after", "before")
    events = Event.objects.filter(organization=organization).defer("payload", "topics", "fingerprint")
    if event_type := request.query_params.get("type"):
        events = events.filter(type=event_type)
    if name := request.query_params.get("repository"):
        events = events.filter(repository=repository_of(organization, name))
    after, before = between(request)
    if after:
        events = events.filter(id__gte=first_id_at(after))
    if before:
        events = events.filter(id__lt=first_id_at(before))
    return events


def named_in(taken: parse.Intake) -> str | None:
    """Return the organization that the events name, or None if they name none; raise a 422 if they name several."""
    named = {event.organization for event in taken.events}
    if len(named) > 1:
        raise invalid({"organization": "all events of a request must belong to the same organization"})
    return named.pop()


def names_within(organization: Organization, taken: parse.Intake) -> dict[str, str]:
    """Map each repository name in the events, short or full, to the repository's name within the organization.

    The full name of another organization's repository maps to the empty string, which no repository has as its name.
    """
    names = {}
    for written in {event.repository for event in taken.events if event.repository is not None}:
        owner, _, name = written.rpartition("/")
        names[written] = name if owner in {"", organization.slug} else ""
    return names


def repositories_named(organization: Organization, names: Collection[str]) -> dict[str, int]:
    """Return the ids, by name, of those of an organization's repositories that have one of these names."""
    return dict(Repository.objects.filter(organization=organization, name__in=names).values_list("name", "id"))


def repositories_for(taken: parse.Intake, *, organization: Organization) -> tuple[dict[str, int], set[str]]:
    """Return the ids of the repositories that the events name, by name, and the names of those to create.

    Names are to be created only if they are valid, and if the organization has creation on publish enabled.
    """
    names = set(names_within(organization, taken).values())
    found = repositories_named(organization, names) if names else {}
    if not organization.create_repositories or len(found) == len(names):
        return found, set()
    return found, repositories.creatable(names - found.keys(), organization=organization)


def published_events(
    taken: parse.Intake,
    *,
    organization: Organization,
    finish: Callable[[list[NewEvent]], list[NewEvent]] = list,
    hops: str | None = None,
    now: datetime,
) -> list[NewEvent]:
    """Convert published events to the engine's, and create the repositories that they are the first to name.

    ``finish`` completes the converted events; if it raises, no repository is created.
    """
    found, missing = repositories_for(taken, organization=organization)
    if missing:
        expected = found | dict.fromkeys(missing, 0)
        finish(new_events(taken, organization=organization, repositories=expected, hops=hops, now=now))
        found |= repositories.create(missing, organization=organization, now=now)
    return finish(new_events(taken, organization=organization, repositories=found, hops=hops, now=now))


def new_events(
    taken: parse.Intake,
    *,
    organization: Organization,
    repositories: Mapping[str, int],
    hops: str | None = None,
    now: datetime,
) -> list[NewEvent]:
    """Convert published events to the engine's; raise a 422 for unknown repositories.

    ``repositories`` holds the ids, by name, of those of the organization's repositories that the events name. ``hops``
    is what ``intake.hops_of`` returned for the request.
    """
    names = names_within(organization, taken)
    ids: dict[str | None, int] = {
        written: repositories[name] for written, name in names.items() if name in repositories
    }
    if len(ids) < len(names):
        missing = {name for name in names.values() if name not in repositories}
        similar = in_another_case(missing, organization=organization)
        faults = {
            field_of(taken, position, "repository"): no_repository(organization, similar.get(names[event.repository]))
            for position, event in enumerate(taken.events)
            if event.repository is not None and event.repository not in ids
        }
        raise invalid(dict(list(faults.items())[:100]))
    return [
        NewEvent(
            organization_id=organization.pk,
            repository_id=ids.get(event.repository),
            type=event.type,
            topics=event.topics,
            payload=event.payload,
            occurred_at=event.timestamp or now,
            idempotency_key=event.key,
            fingerprint=event.fingerprint() if event.key else None,
            hops=hops,
        )
        for event in taken.events
    ]


def no_repository(organization: Organization, similar: str | None) -> str:
    """Return the error for an unknown repository; ``similar`` is an existing name that differs in case only."""
    if similar is not None:
        return f"differs from {similar} only in case; use the same spelling"
    return f"{organization.slug} has no such repository; create it with POST /v1/repositories"


def require_validity(taken: parse.Intake, *, organization: Organization, own: Catalogue | None = None) -> None:
    """Raise a 422 for data that violates the schema of its type, if the organization has validation enabled.

    ``own`` holds the organization's custom event types; without it they are read from the database.
    """
    if not organization.validate_events:
        return
    # A generator, because the parsed data of all events together may take twenty times the memory of the body.
    published = ((event.type, event.data) for event in taken.events)
    own = registry.own(organization) if own is None else own
    found = registry.faults_in(published, organization=organization, own=own, budget=Budget.of(len(taken.events)))
    if found:
        raise invalid({field_of(taken, position, path): fault for (position, path), fault in found.items()})


def with_keys(events: list[NewEvent], taken: parse.Intake, *, header: str | None, content: bytes) -> list[NewEvent]:
    """Derive a key from the header for each event without one; raise a 422 for an invalid or repeated key."""
    if header is not None:
        if (fault := parse.fault_in_key(header)) or len(header) > MAX_HEADER_KEY_LENGTH:
            raise invalid({"Idempotency-Key": fault or f"must be at most {MAX_HEADER_KEY_LENGTH} characters"})
        if not taken.is_batch and events[0].idempotency_key not in {None, header}:
            raise invalid({"id": "differs from the Idempotency-Key header; send only one of them"})
        events = [keyed(event, header, taken, position, content) for position, event in enumerate(events)]
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        position = [event.idempotency_key for event in events].index(twice)
        raise invalid({field_of(taken, position, "id"): "is also used by another event in this request"})
    return events


def keyed(event: NewEvent, header: str, taken: parse.Intake, position: int, content: bytes) -> NewEvent:
    """Return the event with a key derived from the request's, or unchanged if it has one already."""
    if event.idempotency_key is not None:
        return event
    if not taken.is_batch:
        return replace(event, idempotency_key=header, fingerprint=taken.events[0].fingerprint())
    # The key stands for the whole request: with one event more or less it is a different request.
    return replace(event, idempotency_key=f"{header}#{position}", fingerprint=sha256(content).digest())


def publish(
    events: Sequence[NewEvent], taken: parse.Intake, *, snapshot: NameSnapshot = NO_SNAPSHOT, now: datetime
) -> tuple[object, dict[str, str]]:
    """Store the events and return the response's body and headers; raise a 409 for a key used with other content."""
    try:
        receipts = pipeline.accept(events, snapshot=snapshot, now=now)
    except IdempotencyConflict as error:
        fields = {field_of(taken, position, "id"): KEY_REUSED for position in error.positions}
        raise conflict("An idempotency key was already used with different content.", fields=fields) from error
    rows = [
        {"id": str(receipt.id), "type": receipt.type, "accepted_at": written_as_utc(receipt.accepted_at)}
        for receipt in receipts
    ]
    headers = {"Idempotent-Replayed": "true"} if all(receipt.is_repeat for receipt in receipts) else {}
    return {"events": rows} if taken.is_batch else rows[0], headers


def written_as_utc(moment: datetime) -> str:
    """Return a timestamp in UTC, in the format that the framework uses in all other responses."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def field_of(taken: parse.Intake, position: int, name: str) -> str:
    """Return the path by which errors name a field of one of the events."""
    return f"events[{position}].{name}" if taken.is_batch else name
