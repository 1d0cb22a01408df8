"""`/v1/webhooks`: create, list, change, enable and disable webhooks, rotate secrets, get statistics."""

from dataclasses import asdict

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import stats, timezone
from deliveries.db.lookups import Lookup
from deliveries.models import Webhook
from deliveries.webhooks import changing, creating, lifecycle, secrets, verifying
from hookhub.api.presenters.openapi import DIALECT_HEADER
from hookhub.api.presenters.view import NATIVE, PresentedView
from hookhub.api.request_fields import fields_of, read_active, read_overlap, repository_of, require_known_fields
from hookhub.api.serializers.webhooks import (
    ChangedWebhookSerializer,
    DisabledWebhookSerializer,
    EnabledWebhookSerializer,
    EnableSerializer,
    HeaderChangesSerializer,
    NewWebhookSerializer,
    RotationSerializer,
    StatsSerializer,
    WebhookChangesSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
)
from hookhub.api.views import GenericAPIView
from hookhub.http.links import path_of
from hookhub.http.openapi import extend_schema
from hookhub.http.query import HOURS, TEXT, read_uuid, read_window, require_known_parameters
from hookhub.http.refusals import invalid
from hookhub.models import Scope

OF_A_NEW_ONE, CHANGEABLE = (
    [name for name, field in serializer().fields.items() if not field.read_only]
    for serializer in (NewWebhookSerializer, WebhookChangesSerializer)
)
STATUSES = [status.value for status in Webhook.Status if status is not Webhook.Status.DELETED]


class WebhooksView(PresentedView, GenericAPIView[Webhook]):
    """List the organization's webhooks, or create one."""

    serializer_class = WebhookSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("repository", TEXT, description="Only this repository's webhooks."),
            OpenApiParameter(
                "active", bool, description="Only enabled webhooks (true), or only disabled ones (false)."
            ),
            OpenApiParameter("status", str, enum=STATUSES, description="Only webhooks with this status."),
            DIALECT_HEADER,
        ],
        responses=WebhookSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List the organization's webhooks, newest first.

        In an organization whose dialect is `coregit`, the response has Coregit's shape: all webhooks under `webhooks`.
        Send `HookHub-Dialect: native` to get the shape described here.
        """
        organization = self.authorize(request, scope=Scope.READ)
        found = Webhook.objects.kept().of_organization(organization.pk).select_related("organization", "repository")
        require_known_parameters(request, "repository", "active", "status")
        if name := request.query_params.get("repository"):
            found = found.filter(repository=repository_of(organization, name))
        if active := request.query_params.get("active"):
            if active not in {"true", "false"}:
                raise invalid({"active": "must be true or false"})
            found = found.filter(disabled_at__isnull=active == "true")
        if status := request.query_params.get("status"):
            if status not in STATUSES:
                raise invalid({"status": f"must be one of: {', '.join(STATUSES)}"})
            found = found.with_status(Webhook.Status(status), now=timezone.now())
        return self.presenter.listed(verifying.with_latest(found), request, self)

    @extend_schema(
        parameters=[DIALECT_HEADER], request=NewWebhookSerializer, responses={201: WebhookWithSecretSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a webhook. The response contains its secret, which is shown only once.

        In an organization whose dialect is `coregit`, the response has Coregit's shape: `id`, `url`, `events`, `secret`
        and `active`. Send `HookHub-Dialect: native` to get the shape described here.
        """
        fields = fields_of(request.data)
        organization = self.authorize(request, scope=Scope.MANAGE, organization=fields.pop("organization", None))
        require_known_fields(fields, *OF_A_NEW_ONE)
        named = fields.pop("repository", None)
        repository = None if named is None else repository_of(organization, named)
        active = read_active(fields)
        self.presenter.validate(fields, organization=organization)
        webhook, secret = creating.create(
            fields, organization=organization, repository=repository, active=active is not False, now=timezone.now()
        )
        location = {"Location": path_of(f"/v1/webhooks/{webhook.uid}")}
        return Response(self.presenter.created(webhook, secret), status=201, headers=location)


class WebhookView(PresentedView, GenericAPIView[Webhook]):
    """Retrieve, change or delete a webhook."""

    serializer_class = WebhookSerializer

    @extend_schema(parameters=[DIALECT_HEADER])
    def get(self, request: Request, uid: str) -> Response:
        """Get a webhook. In an organization whose dialect is `coregit`, it has Coregit's shape."""
        return Response(self.presenter.shown(find(self, request, uid, scope=Scope.READ)))

    @extend_schema(parameters=[DIALECT_HEADER], request=WebhookChangesSerializer, responses=ChangedWebhookSerializer)
    def patch(self, request: Request, uid: str) -> Response:
        """Change the fields of a webhook that the request names.

        `headers` replaces all custom headers of the webhook; to set or remove single ones, use
        `/v1/webhooks/{id}/headers`. A value returned as `********` may be sent back to keep the stored value: a header
        of the same name, `secret`, or a masked `url`. If nothing is stored, this is an error.

        Changing the URL generates a new secret, which is shown only once, in this response, and removes the custom
        headers, unless only the query changes or https replaces http. To set them yourself, send `secret` and `headers`
        along.
        """
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        if fixed := {"repository", "organization"} & fields.keys():
            raise invalid(dict.fromkeys(sorted(fixed), "cannot be changed; create another webhook"))
        require_known_fields(fields, *CHANGEABLE)
        active = read_active(fields)
        self.presenter.validate(fields, organization=webhook.organization)
        changed, secret = changing.change(webhook.pk, fields, active=active, now=timezone.now())
        return Response(self.presenter.shown(changed, secret))

    @extend_schema(parameters=[DIALECT_HEADER], responses={204: None})
    def delete(self, request: Request, uid: str) -> Response:
        """Delete a webhook and cancel its unfinished deliveries.

        In an organization whose dialect is `coregit`, the response is a 200 with `deleted`.
        """
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        lifecycle.delete(webhook.pk, now=timezone.now())
        return self.presenter.deleted()


class HeadersView(PresentedView, GenericAPIView[Webhook]):
    """Set or remove single custom headers of a webhook.

    `{"headers": {"X-New": "value", "X-Old": null}}` sets `X-New`, removes `X-Old`, and leaves all other headers
    unchanged. Header names are case-insensitive. To replace all custom headers, PATCH the webhook's `headers`.
    """

    serializer_class = HeaderChangesSerializer

    @extend_schema(responses=WebhookSerializer)
    def patch(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        require_known_fields(fields, "headers")
        changes = fields.get("headers")
        if not isinstance(changes, dict):
            raise invalid({"headers": "must be an object of header names and values; null removes a header"})
        return Response(NATIVE.shown(changing.change_headers(webhook.pk, changes, now=timezone.now())))


class EnableView(PresentedView, GenericAPIView[Webhook]):
    """Enable a webhook, so that deliveries are created for new events.

    With `release_held`, the deliveries that were held while it was disabled are sent too.
    """

    serializer_class = EnableSerializer

    @extend_schema(responses={200: EnabledWebhookSerializer})
    def post(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        require_known_fields(fields, "release_held")
        release_held = fields.get("release_held", False)
        if not isinstance(release_held, bool):
            raise invalid({"release_held": "must be true or false"})
        enabled, released = lifecycle.enable(webhook.pk, release_held=release_held, now=timezone.now())
        return Response({**NATIVE.shown(enabled), "released": released})


class DisableView(PresentedView, GenericAPIView[Webhook]):
    """Disable a webhook: no deliveries are created for new events, and pending deliveries are held."""

    serializer_class = WebhookSerializer

    @extend_schema(request=None, responses={200: DisabledWebhookSerializer})
    def post(self, request: Request, uid: str) -> Response:
        disabled, held = lifecycle.disable(find(self, request, uid, scope=Scope.MANAGE).pk, now=timezone.now())
        return Response({**NATIVE.shown(disabled), "held": held})


class RotateSecretView(PresentedView, GenericAPIView[Webhook]):
    """Rotate a webhook's secret. The response contains the new secret, which is shown only once.

    Requests are also signed with the previous secrets for `overlap` seconds, one day by default.
    """

    serializer_class = RotationSerializer

    @extend_schema(responses={200: WebhookWithSecretSerializer})
    def post(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        require_known_fields(fields, "secret", "overlap")
        rotated, secret = secrets.rotate_secret(
            webhook.pk,
            secret=fields.get("secret"),
            overlap=read_overlap(fields),
            now=timezone.now(),
        )
        return Response(NATIVE.shown(rotated, secret))


class VerifyView(PresentedView, GenericAPIView[Webhook]):
    """Start to verify a webhook's URL: a worker sends it a challenge, which it must echo, or the handshake.

    If a verification is pending, its next request is due now and its schedule starts over. Otherwise the webhook's URL
    is asked. Until it has answered, the webhook stays as it is: `verification` shows the progress.
    """

    serializer_class = WebhookSerializer

    @extend_schema(request=None, responses={202: WebhookSerializer})
    def post(self, request: Request, uid: str) -> Response:
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        return Response(NATIVE.shown(verifying.verify(webhook.pk, now=timezone.now())), status=202)


class StatsView(PresentedView, GenericAPIView[Webhook]):
    """Retrieve statistics of a webhook: deliveries by state, success rate and latency percentiles.

    They cover the last 24 hours, or the last `hours`.
    """

    serializer_class = StatsSerializer

    @extend_schema(parameters=[HOURS])
    def get(self, request: Request, uid: str) -> Response:
        require_known_parameters(request, "hours")
        webhook = find(self, request, uid, scope=Scope.READ)
        return Response(asdict(stats.stats_of(webhook, window=read_window(request), now=timezone.now())))


_webhook = Lookup(
    lambda organization, uid: (
        Webhook.objects.kept()
        .select_related("organization", "repository")
        .filter(organization_id=organization, uid=uid)
    ),
    "organization",
    "uid",
)


def find(view: PresentedView, request: Request, uid: str, *, scope: Scope) -> Webhook:
    """Return a webhook of the caller's organization; raise a 403 without this scope, a 404 if unknown."""
    organization = view.authorize(request, scope=scope)
    webhook = _webhook(organization=organization.pk, uid=read_uuid(uid))
    if webhook is None:
        raise Http404
    return webhook
