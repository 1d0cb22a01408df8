"""`/v1/webhooks/{id}/ping` and `/test`: send a webhook an event that no other gets."""

from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import redelivery, timezone
from deliveries.models import Delivery, Webhook
from hookhub.api.presenters.view import PresentedView
from hookhub.api.request_fields import fields_of, require_known_fields
from hookhub.api.serializers.deliveries import DeliverySerializer
from hookhub.api.serializers.webhooks import TestSerializer
from hookhub.api.views import GenericAPIView
from hookhub.api.webhooks import find
from hookhub.event_types import examples
from hookhub.http import test_events
from hookhub.http.openapi import extend_schema
from hookhub.http.refusals import conflict
from hookhub.models import Scope


class PingView(PresentedView, GenericAPIView[Delivery]):
    """Send a `ping` event to a webhook, whatever it subscribes to, and return the delivery.

    To a polling webhook nothing is sent: the event is put into its queue. What is returned is not stored, and has the
    id with which the event is fetched.
    """

    serializer_class = DeliverySerializer

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        require_receiving(webhook)
        return Response(DeliverySerializer(redelivery.ping(webhook, now=timezone.now())).data, status=202)


class TestView(PresentedView, GenericAPIView[Delivery]):
    """Send a test event to this webhook only, and return the delivery.

    For a polling webhook, the event is put into its queue instead. What is returned is not stored, and has the id with
    which the event is fetched.

    The event is an example of `type`, or of an event type that the webhook subscribes to if `type` is absent. It comes
    from the catalogue, in exactly the shape that its system documents, or from the organization's custom event type.
    Examples of HookHub's event types and of custom ones contain `"test": true`. With `data`, that is sent instead; it
    must match the schema of `type`.

    A webhook gets at most 300 test events a minute, unless the operator has set another limit.
    """

    serializer_class = TestSerializer

    @extend_schema(responses={202: DeliverySerializer})
    def post(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        require_known_fields(fields, "type", "data")
        require_receiving(webhook)
        event_type = fields.get("type")
        sample = (
            test_events.with_data(webhook, event_type, fields["data"])
            if "data" in fields
            else examples.pick(webhook, event_type)
        )
        return Response(DeliverySerializer(test_events.send(webhook, sample, now=timezone.now())).data, status=202)


def require_receiving(webhook: Webhook) -> None:
    """Raise a 409 for a webhook to which nothing is sent."""
    match webhook.status(now=timezone.now()):
        case Webhook.Status.ENDED:
            raise conflict("The lease of the webhook has ended; set another expires_at first.")
        case Webhook.Status.DISABLED:
            raise conflict("The webhook is disabled; enable it first.")
        case Webhook.Status.UNVERIFIED:
            raise conflict("The webhook is unverified: its receiver must answer the verification first.")
