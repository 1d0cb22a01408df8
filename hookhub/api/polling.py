"""`/v1/webhooks/{id}/poll`: fetch the events of a polling webhook, and commit how far each consumer has read."""

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import compact_json, polling, timezone
from deliveries.formats.base import stamp
from deliveries.models import PollConsumer, Webhook
from deliveries.polling import MAX_CONSUMERS, Page, Polled
from hookhub.api.presenters.view import PresentedView
from hookhub.api.request_fields import fields_of, require_known_fields
from hookhub.api.serializers.polling import PollConsumerSerializer, PollConsumersSerializer, PollSerializer
from hookhub.api.views import GenericAPIView
from hookhub.api.webhooks import find
from hookhub.http import long_polls
from hookhub.http.authorization import may_manage_webhooks
from hookhub.http.errors import RETRY_AFTER_SECONDS, as_plain
from hookhub.http.long_polls import Found, Room, Wait
from hookhub.http.openapi import extend_schema
from hookhub.http.query import require_known_parameters, whole_number
from hookhub.http.refusals import Refusal, conflict, invalid
from hookhub.models import Scope

MAX_EVENTS, DEFAULT_EVENTS = 200, 50
MAX_WAIT_SECONDS = 30
# A request that finds no room is answered at once, as if it had not asked to wait.
ROOM = Room(of_organization=32, of_all=128)
ROOM_IN_THREADS = Room(of_organization=long_polls.THREADS_THAT_WAIT, of_all=long_polls.THREADS_THAT_WAIT)
LATEST = "latest"
CONSUMER = re.compile(r"[A-Za-z0-9._-]{1,100}")
CONSUMER_RULE = "must be 1 to 100 letters, digits, dots, underscores and hyphens"
NOT_OURS = "is not a cursor of this webhook; omit it to start with its oldest event"
NOT_TO_COMMIT = (
    "is not a cursor of this webhook; send the one returned with events, or delete the consumer to start anew"
)
# The webhook's number and the position, so that a cursor of another webhook is not taken for one of this.
CURSOR = struct.Struct(">QQ")
ENCODED = re.compile(r"[A-Za-z0-9_-]{22}")


class TooManyUnread(Refusal):
    """A 503: the queue is long and has not been read yet, and this request has numbered as much as one should."""

    def __init__(self) -> None:
        message = "So many events have not been read yet that it takes several requests to begin after them; repeat it."
        super().__init__(503, "unavailable", message, headers={"Retry-After": RETRY_AFTER_SECONDS})


class PollView(PresentedView, GenericAPIView[Webhook]):
    """Fetch the next events of a polling webhook, each with its signed headers and its body.

    A key with the scope `read` gets the values of custom headers masked, since these may be secrets.

    Without `cursor`, the events begin with the oldest that is retained or, with `consumer`, after those that the
    consumer has committed. Fetching commits nothing: process the events, then commit the `cursor` of the response with
    PUT `/v1/webhooks/{id}/consumers/{name}`, or keep it yourself and pass it with the next request. After a crash in
    between, the same events come again, with the same ids.

    With `wait`, a request for which there is no event waits for one. If too many requests wait, it is answered at once.
    """

    serializer_class = PollSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "cursor",
                {"type": "string", "pattern": rf"^(latest|{ENCODED.pattern})$"},
                description="Only events after this position; `latest` for those that come from now on.",
            ),
            OpenApiParameter(
                "consumer",
                {"type": "string", "pattern": f"^{CONSUMER.pattern}$"},
                description="Without `cursor`: continue where this consumer has committed.",
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_EVENTS, "default": DEFAULT_EVENTS},
                description="The maximum number of events.",
            ),
            OpenApiParameter(
                "wait",
                {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
                description="How many seconds to wait if there is no event.",
            ),
        ],
        responses=PollSerializer,
    )
    def get(self, request: Request, uid: str) -> HttpResponse:
        webhook = find_polled(self, request, uid)
        require_known_parameters(request, "consumer", "wait")
        limit = number_in(request, "limit", least=1, most=MAX_EVENTS, default=DEFAULT_EVENTS)
        seconds = number_in(request, "wait", least=0, most=MAX_WAIT_SECONDS, default=0)
        after = start_of(request, webhook)
        room, patience = ROOM, timedelta(seconds=seconds)
        if long_polls.needs_a_thread(request.META):
            room, patience = ROOM_IN_THREADS, min(patience, long_polls.LONGEST_IN_A_THREAD)
        wait = room.enter(webhook.organization_id, patience=patience) if seconds else None
        if wait is None:
            page = read_page(request, webhook, after=after, limit=limit)
            return HttpResponse(as_json(page, webhook), content_type=long_polls.JSON)
        look = partial(self.look, wait, request, webhook, after=after, limit=limit)
        return long_polls.answer(request.META, look, hurry=wait.hurry)

    def look(self, wait: Wait, request: Request, webhook: Webhook, *, after: int, limit: int) -> Found | None:
        """Return a page of events, once there are any or it is too late; None to look again.

        It is what the same request would get now: the webhook may be deleted or changed, and the key revoked.
        """
        try:
            if not wait.is_over and not polling.has_news(webhook, after=after):
                return None
            again = self.initialize_request(request._request)  # noqa: SLF001 - DRF's own way to the same request
            current = find_polled(self, again, str(webhook.uid))
            page = read_page(again, current, after=after, limit=limit)
            # Another reader is numbering what has come.
            if not (page.events or page.expired) and page.has_more and not wait.is_over:
                return None
            found = Found(as_json(page, current))
        except (OperationalError, InterfaceError):
            # The database may be back in time. If not, there is nothing new: the caller keeps its cursor.
            if not wait.is_over:
                return None
            found = Found(as_json(Page([], after, 0, has_more=False), webhook))
        except (Http404, PermissionDenied, APIException) as error:
            found = Found.of(as_plain(self.handle_exception(error)))
        except BaseException:
            wait.end()
            raise
        wait.end()
        return found


class PollConsumersView(PresentedView, GenericAPIView[PollConsumer]):
    """List the consumers of a polling webhook, and how far each has come."""

    serializer_class = PollConsumersSerializer

    @extend_schema(responses=PollConsumersSerializer)
    def get(self, request: Request, uid: str) -> Response:
        webhook = find_polled(self, request, uid)
        require_known_parameters(request)
        return Response({"consumers": [shown(webhook, each) for each in polling.consumers(webhook)]})


class PollConsumerView(PresentedView, GenericAPIView[PollConsumer]):
    """Commit up to where a consumer has processed the events of a polling webhook, or delete the consumer.

    Its first commit creates it. A position before the last one is accepted: the events after it come again. A webhook
    has up to 20 consumers, and each sees all events.
    """

    serializer_class = PollConsumerSerializer

    @extend_schema(request=PollConsumerSerializer, responses=PollConsumerSerializer)
    def put(self, request: Request, uid: str, name: str) -> Response:
        webhook = find_polled(self, request, uid)
        fields = fields_of(request.data)
        require_known_fields(fields, "cursor")
        require_consumer_name(name)
        if "cursor" not in fields:
            raise invalid({"cursor": "is required, as returned with the events"})
        position = position_in(fields["cursor"], webhook, otherwise=NOT_TO_COMMIT)
        try:
            consumer = polling.commit(webhook, name, position=position, now=timezone.now())
        except polling.TooManyConsumers as error:
            raise conflict(
                f"The webhook has {MAX_CONSUMERS} consumers already. Delete one that is not used."
            ) from error
        return Response(shown(webhook, consumer))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, uid: str, name: str) -> Response:
        webhook = find_polled(self, request, uid)
        if not (CONSUMER.fullmatch(name) and polling.forget(webhook, name)):
            raise Http404
        return Response(status=204)


def find_polled(view: PresentedView, request: Request, uid: str) -> Webhook:
    """Return a polling webhook of the caller's organization; raise a 404 if unknown, a 422 for any other webhook.

    The scope is that of reading: a consumer's position changes nothing for others.
    """
    webhook = find(view, request, uid, scope=Scope.READ)
    if not webhook.is_polled:
        raise invalid(
            {"kind": "is push: events are sent to its URL, and not fetched; create a webhook of the kind poll"}
        )
    return webhook


def read_page(request: Request, webhook: Webhook, *, after: int, limit: int) -> Page:
    """Return a page of events as the caller may read them."""
    is_masked = not may_manage_webhooks(request, webhook.organization)
    return polling.read(webhook, after=after, limit=limit, is_masked=is_masked, now=timezone.now())


def as_json(page: Page, webhook: Webhook) -> bytes:
    """Return a page in the API's shape."""
    return compact_json.encode(
        {
            "events": [event_as_json(each, webhook) for each in page.events],
            "cursor": cursor_at(page.position, webhook),
            "has_more": page.has_more,
            "expired": page.expired,
        }
    )


def event_as_json(polled: Polled, webhook: Webhook) -> Mapping[str, object]:
    """Return an event in the API's shape."""
    request = polled.request
    return {
        "id": str(polled.id),
        "event": str(polled.event_id),
        "type": polled.event_type,
        "timestamp": stamp(polled.occurred_at),
        "cursor": cursor_at(polled.position, webhook),
        "headers": None if request is None else dict(request.headers),
        "body": None if request is None else request.body.decode(),
        "error": polled.error,
    }


def shown(webhook: Webhook, consumer: PollConsumer) -> dict[str, Any]:
    """Return a consumer in the API's shape."""
    return {
        "name": consumer.name,
        "cursor": cursor_at(consumer.position, webhook),
        "behind": polling.behind(webhook, consumer),
        "committed_at": stamp(consumer.committed_at),
        "created_at": stamp(consumer.created_at),
    }


def start_of(request: Request, webhook: Webhook) -> int:
    """Return the position after which the events asked for begin."""
    cursor, consumer = request.query_params.get("cursor"), request.query_params.get("consumer")
    if consumer is not None:
        require_consumer_name(consumer)
    if cursor == LATEST:
        newest = polling.newest_position(webhook)
        if newest is None:
            raise TooManyUnread
        return newest
    if cursor is not None:
        return position_in(cursor, webhook)
    return 0 if consumer is None else polling.position_of(webhook, consumer)


def require_consumer_name(name: str) -> None:
    """Raise a 422 if no consumer can have this name."""
    if not CONSUMER.fullmatch(name):
        raise invalid({"consumer": CONSUMER_RULE})


def number_in(request: Request, name: str, *, least: int, most: int, default: int) -> int:
    """Return an integer of the query; raise a 422 that names it if it is out of bounds."""
    found = whole_number(request.query_params.get(name, str(default)), least=least, most=most)
    if found is None:
        raise invalid({name: f"must be an integer from {least} to {most}"})
    return found


def cursor_at(position: int, webhook: Webhook) -> str:
    """Return the opaque form of a position in the queue of a webhook."""
    return base64.urlsafe_b64encode(CURSOR.pack(webhook.pk, position)).decode().rstrip("=")


def position_in(cursor: object, webhook: Webhook, *, otherwise: str = NOT_OURS) -> int:
    """Return the position that a cursor stands for; raise a 422 with ``otherwise`` if it is not one of this webhook."""
    if isinstance(cursor, str) and ENCODED.fullmatch(cursor):
        try:
            number, position = CURSOR.unpack(base64.urlsafe_b64decode(cursor + "=="))
        except (binascii.Error, struct.error):
            number, position = None, 0
        # A position that the queue has not come to: the database was restored, and the next events would be left out.
        if number == webhook.pk and position <= polling.last_position(webhook):
            return int(position)
    raise invalid({"cursor": otherwise})
