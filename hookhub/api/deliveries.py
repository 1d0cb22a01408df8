"""`/v1/deliveries` and `/v1/replays`: the delivery log, redelivery and replays."""

from collections.abc import Mapping
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import redelivery, timezone
from deliveries.db.lookups import find_one
from deliveries.models import Delivery, Organization, Webhook
from deliveries.redelivery import BlockedReason, Selection, blocked_reason
from hookhub import replays
from hookhub.api.request_fields import fields_of, repository_of
from hookhub.api.serializers.deliveries import (
    MAX_IDS,
    DeliveryDetailSerializer,
    DeliverySerializer,
    NewReplaySerializer,
    ReplaySerializer,
)
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize
from hookhub.http.errors import MUST_NOT_BE_EMPTY
from hookhub.http.links import path_of
from hookhub.http.openapi import extend_schema
from hookhub.http.query import TEXT, TIME_PARAMETERS, read_id, read_timestamp, read_uuid, require_known_parameters
from hookhub.http.refusals import conflict, invalid
from hookhub.models import Replay, Scope

EMPTY: tuple[object, ...] = (None, "", [], {})
SELECTORS = ("webhook", "event", "repository", "state", "type", "after", "before")
FILTERS = ("deliveries", *SELECTORS)
CHANGED_MEANWHILE = "The delivery has changed in the meantime; retrieve it again."


class DeliveriesView(GenericAPIView[Delivery]):
    """List the organization's deliveries, newest first."""

    serializer_class = DeliverySerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("webhook", OpenApiTypes.UUID, description="Only deliveries to this webhook."),
            OpenApiParameter("event", OpenApiTypes.UUID, description="Only deliveries of this event."),
            OpenApiParameter("repository", TEXT, description="Only deliveries of this repository's events."),
            OpenApiParameter(
                "state", enum=Delivery.State.values, many=True, description="Only deliveries in one of these states."
            ),
            OpenApiParameter("type", TEXT, description="Only deliveries of events of this type."),
            *TIME_PARAMETERS,
        ],
        responses=DeliverySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        organization = authorize(request, scope=Scope.READ)
        require_known_parameters(request, *SELECTORS)
        fields: dict[str, object] = {
            name: request.query_params[name] for name in SELECTORS if name in request.query_params
        }
        if states := request.query_params.getlist("state"):
            fields["state"] = states
        found = with_names(selection_of(fields, organization=organization).deliveries())
        return self.listed(found, DeliverySerializer)


class DeliveryView(GenericAPIView[Delivery]):
    """Retrieve a delivery with all of its attempts."""

    serializer_class = DeliveryDetailSerializer

    def get(self, request: Request, uid: str) -> Response:
        return Response(DeliveryDetailSerializer(find(request, uid, scope=Scope.READ)).data)


class RedeliverView(GenericAPIView[Delivery]):
    """Redeliver a delivery: it becomes due immediately, with the same id and its retry schedule restarted."""

    serializer_class = DeliverySerializer

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, uid: str) -> Response:
        delivery = find(request, uid, scope=Scope.MANAGE)
        if not redelivery.redeliver([delivery.pk], now=timezone.now()):
            raise conflict(redeliver_error(delivery))
        return Response(DeliverySerializer(find(request, uid, scope=Scope.MANAGE)).data, status=202)


class CancelView(GenericAPIView[Delivery]):
    """Cancel a pending or held delivery."""

    serializer_class = DeliverySerializer

    @extend_schema(request=None, responses={200: DeliverySerializer})
    def post(self, request: Request, uid: str) -> Response:
        delivery = find(request, uid, scope=Scope.MANAGE)
        if not redelivery.cancel([delivery.pk], now=timezone.now()):
            raise conflict(cancel_error(delivery))
        return Response(DeliverySerializer(find(request, uid, scope=Scope.MANAGE)).data)


class ReplaysView(GenericAPIView[Replay]):
    """List replays, or start one."""

    serializer_class = ReplaySerializer

    @extend_schema(responses=ReplaySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List replays, newest first."""
        require_known_parameters(request)
        organization = authorize(request, scope=Scope.READ)
        return self.listed(Replay.objects.filter(organization=organization), ReplaySerializer)

    @extend_schema(
        request=NewReplaySerializer,
        responses={202: ReplaySerializer},
    )
    def post(self, request: Request) -> Response:
        """Start a replay, which redelivers the deliveries listed in `deliveries`, or all that match the filter.

        It runs in the background; get it to follow its progress.
        """
        fields = fields_of(request.data)
        organization = authorize(request, scope=Scope.MANAGE, organization=fields.pop("organization", None))
        unknown = {
            name: f"is not a known filter; known filters: {', '.join(FILTERS)}"
            for name in fields
            if name not in FILTERS
        }
        if unknown:
            raise invalid(unknown)
        empty = {name: MUST_NOT_BE_EMPTY for name, value in fields.items() if value in EMPTY}
        if empty:
            raise invalid(empty)
        # An empty filter would redeliver every delivery there is.
        if not fields:
            raise invalid({"body": f"must have at least one of: {', '.join(FILTERS)}"})
        selection = selection_of(fields, organization=organization)
        job = replays.start(organization, selection=selection, asked=fields, now=timezone.now())
        return Response(ReplaySerializer(job).data, status=202, headers={"Location": path_of(f"/v1/replays/{job.pk}")})


class ReplayView(GenericAPIView[Replay]):
    """Retrieve a replay with its progress."""

    serializer_class = ReplaySerializer

    def get(self, request: Request, uid: str) -> Response:
        organization = authorize(request, scope=Scope.READ)
        return Response(ReplaySerializer(get_object_or_404(Replay, organization=organization, id=read_uuid(uid))).data)


class CancelReplayView(GenericAPIView[Replay]):
    """Cancel a replay. Deliveries that it has already made due stay due."""

    serializer_class = ReplaySerializer

    @extend_schema(request=None, responses={200: ReplaySerializer})
    def post(self, request: Request, uid: str) -> Response:
        organization = authorize(request, scope=Scope.MANAGE)
        job = get_object_or_404(Replay, organization=organization, id=read_uuid(uid))
        replays.cancel(job, now=timezone.now())
        job.refresh_from_db()
        return Response(ReplaySerializer(job).data)


def find(request: Request, uid: str, *, scope: Scope) -> Delivery:
    """Return a delivery of the caller's organization; raise a 403 without this scope, a 404 if unknown."""
    organization = authorize(request, scope=scope)
    return get_object_or_404(with_names(Delivery.objects.filter(organization=organization)), id=read_uuid(uid))


def with_names(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Load the webhook and the repository with each delivery, limited to the columns needed to show it."""
    return deliveries.select_related("webhook", "repository").only(
        *DELIVERY_COLUMNS, "webhook__uid", "webhook__format", *redelivery.BLOCKING, "repository__name"
    )


DELIVERY_COLUMNS = (
    "id", "event_id", "event_type", "state", "finish_reason", "attempts_made", "failures", "redeliveries",
    "last_status", "due_at", "created_at", "finished_at",
)  # fmt: skip


def selection_of(fields: Mapping[str, object], *, organization: Organization) -> Selection:
    """Parse a filter from a query or a body; raise a 422 that names the invalid fields."""
    states = fields.get("state", ())
    states = [states] if isinstance(states, str) else states
    if not isinstance(states, list | tuple) or any(state not in Delivery.State.values for state in states):
        raise invalid({"state": f"must be one or more of: {', '.join(Delivery.State.values)}"})
    event_type = fields.get("type")
    if event_type is not None and (not isinstance(event_type, str) or "\0" in event_type):
        raise invalid({"type": "must be an event type"})
    return Selection(
        organization_id=organization.pk,
        webhook_id=_webhook_id(fields.get("webhook"), organization),
        event_id=read_id(fields.get("event"), "event"),
        repository_id=_repository_id(fields.get("repository"), organization),
        states=tuple(states),
        event_type=event_type,
        after=read_timestamp(fields.get("after"), "after"),
        before=read_timestamp(fields.get("before"), "before"),
        ids=_ids(fields["deliveries"]) if "deliveries" in fields else None,
    )


def _ids(value: object) -> tuple[UUID, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_IDS:
        raise invalid({"deliveries": f"must be a list of 1 to {MAX_IDS} delivery ids"})
    return tuple(
        found for position, one in enumerate(value) if (found := read_id(one or "", f"deliveries[{position}]"))
    )


def _webhook_id(value: object, organization: Organization) -> int | None:
    uid = read_id(value, "webhook")
    if uid is None:
        return None
    # The deliveries of a deleted webhook may still be read.
    webhook = find_one(Webhook.objects.filter(organization=organization, uid=uid).only("id"))
    if webhook is None:
        raise invalid({"webhook": "does not exist"})
    return webhook.pk


def _repository_id(value: object, organization: Organization) -> int | None:
    if value is None:
        return None
    return repository_of(organization, value).pk


def redeliver_error(delivery: Delivery) -> str:
    """Return why a delivery could not be redelivered."""
    match blocked_reason(delivery):
        case BlockedReason.SENDING:
            return state_error(delivery, redelivery.REDELIVERABLE, "redelivered")
        case BlockedReason.WEBHOOK_DELETED:
            return "The webhook is deleted, so its deliveries cannot be redelivered."
        case BlockedReason.WEBHOOK_UNVERIFIED:
            return "The webhook is unverified: its receiver must answer the verification first."
        case BlockedReason.WEBHOOK_ENDED:
            return "The lease of the webhook has ended; set another expires_at first."
        case BlockedReason.WEBHOOK_DISABLED:
            return "The webhook is disabled; enable it first."
    return CHANGED_MEANWHILE


def cancel_error(delivery: Delivery) -> str:
    """Return why a delivery could not be cancelled."""
    if delivery.state not in redelivery.CANCELLABLE:
        return state_error(delivery, redelivery.CANCELLABLE, "cancelled")
    return CHANGED_MEANWHILE


def state_error(delivery: Delivery, states: tuple[str, ...], participle: str) -> str:
    """Return the message for a delivery in a state that does not allow an action."""
    return (
        f"A delivery in state {delivery.state} cannot be {participle}; its state must be one of: {', '.join(states)}."
    )
