"""`/v1/organizations` and `/v1/repositories`: the tenants and their repositories."""

from contextlib import suppress
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from deliveries import audit, names, timezone
from deliveries.db import sql
from deliveries.models import Organization, Repository, Webhook
from deliveries.webhooks import lifecycle, subscribing
from hookhub.alerts import channels
from hookhub.api.request_fields import fields_of, validated
from hookhub.api.serializers.organizations import NewRepositorySerializer, OrganizationSerializer, RepositorySerializer
from hookhub.api.views import GenericAPIView
from hookhub.audited import audited
from hookhub.http.authorization import authorize, authorize_webhooks, is_operator
from hookhub.http.openapi import extend_schema
from hookhub.http.query import require_known_parameters
from hookhub.http.refusals import conflict
from hookhub.models import INCLUDED, ApiKey, Scope


class OrganizationsView(GenericAPIView[Organization]):
    """List the organizations that the caller acts for, or create one. Only the operator can create organizations."""

    serializer_class = OrganizationSerializer

    @extend_schema(responses=OrganizationSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the organizations that the caller acts for."""
        require_known_parameters(request)
        return self.listed(visible(request), OrganizationSerializer)

    @extend_schema(responses={201: OrganizationSerializer})
    def post(self, request: Request) -> Response:
        """Create an organization. Only the operator can: a superuser, or a master key without an organization."""
        if not is_operator(request) or (isinstance(request.auth, ApiKey) and request.auth.scope != Scope.MASTER):
            raise PermissionDenied(
                "Only operators can create organizations: superusers, and master keys without an organization."
            )
        serializer = OrganizationSerializer(data=fields_of(request.data))
        return Response(save(serializer, name="slug"), status=201)


class OrganizationView(GenericAPIView[Organization]):
    """Retrieve or change an organization."""

    serializer_class = OrganizationSerializer

    def get(self, request: Request, slug: str) -> Response:
        """Get an organization with its settings."""
        return Response(OrganizationSerializer(authorize(request, scope=Scope.READ, organization=slug)).data)

    def patch(self, request: Request, slug: str) -> Response:
        """Change the settings of an organization that the request names. Only the operator can change `limits`."""
        organization = authorize(request, scope=Scope.MASTER, organization=slug)
        fields = fields_of(request.data)
        if "limits" in fields and not is_operator(request):
            raise PermissionDenied(
                "Only operators can set limits: superusers, and master keys without an organization."
            )
        serializer = OrganizationSerializer(organization, data=fields, partial=True)
        locked = Organization.objects.select_for_update(no_key=True).filter(pk=organization.pk)
        return Response(change(serializer, locked, name="slug"))


class RepositoriesView(GenericAPIView[Repository]):
    """List the organization's repositories, or create one."""

    serializer_class = RepositorySerializer

    @extend_schema(responses=RepositorySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the organization's repositories, newest first."""
        require_known_parameters(request)
        organization = authorize(request, scope=Scope.READ)
        found = Repository.objects.filter(organization=organization).select_related("organization")
        return self.listed(found, RepositorySerializer)

    @extend_schema(request=NewRepositorySerializer, responses={201: RepositorySerializer})
    def post(self, request: Request) -> Response:
        """Create a repository."""
        fields = fields_of(request.data)
        organization = authorize(request, scope=Scope.MANAGE, organization=fields.pop("organization", None))
        serializer = RepositorySerializer(data=fields)
        return Response(save(serializer, name="name", organization=organization), status=201)


class RepositoryView(GenericAPIView[Repository]):
    """Retrieve, change or delete a repository."""

    serializer_class = RepositorySerializer

    def find(self, request: Request, name: str, *, scope: Scope) -> Repository:
        organization = authorize(request, scope=scope)
        return get_object_or_404(
            Repository.objects.select_related("organization"), organization=organization, name=name
        )

    def get(self, request: Request, name: str) -> Response:
        """Get a repository."""
        return Response(RepositorySerializer(self.find(request, name, scope=Scope.READ)).data)

    def patch(self, request: Request, name: str) -> Response:
        """Change the name of a repository, or whether it is private."""
        repository = self.find(request, name, scope=Scope.MANAGE)
        serializer = RepositorySerializer(repository, data=fields_of(request.data), partial=True)
        locked = Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk)
        with transaction.atomic():
            shown = change(serializer, locked, name="name")
            subscribing.revoke_unseen(repository.pk, now=timezone.now())
        return Response(shown)

    def delete(self, request: Request, name: str) -> Response:
        """Delete a repository and its webhooks. Its events and deliveries are kept until their retention ends."""
        # This deletes its webhooks too, so it requires the scope for deleting them.
        authorize_webhooks(request, scope=Scope.MANAGE)
        repository = self.find(request, name, scope=Scope.MANAGE)
        # Each in a transaction of its own, because there may be thousands: otherwise the workers would wait for their
        # rows until the last is deleted. If this is interrupted, the same request continues.
        delete_webhooks_of(repository)
        while release_deleted_webhooks_of(repository) == sql.BATCH:
            pass
        with transaction.atomic():
            # A request that is creating a webhook for it waits for this lock, and then finds no repository.
            Repository.objects.select_for_update().get(pk=repository.pk)
            # Those that were created meanwhile.
            delete_webhooks_of(repository)
            Webhook.objects.filter(repository=repository).exclude(deleted_at=None).update(repository=None)
            channels.delete_of(repository, now=timezone.now())
            target, state = audited(repository)
            repository.delete()
            audit.record("repository.deleted", target=target, before=state, now=timezone.now())
        return Response(status=204)


def delete_webhooks_of(repository: Repository) -> None:
    """Delete the webhooks of a repository, one after the other."""
    webhooks = Webhook.objects.kept().filter(repository=repository).order_by("id")
    for webhook_id in list(webhooks.values_list("pk", flat=True)):
        # Another request may have deleted it.
        with suppress(Webhook.DoesNotExist):
            lifecycle.delete(webhook_id, now=timezone.now())


def release_deleted_webhooks_of(repository: Repository) -> int:
    """Take some deleted webhooks out of a repository, which their log outlives; return how many, at most sql.BATCH."""
    with transaction.atomic():
        deleted = Webhook.objects.filter(repository=repository).exclude(deleted_at=None).order_by("id")
        ids = list(deleted.locked().values_list("pk", flat=True)[: sql.BATCH])
        return Webhook.objects.filter(pk__in=ids).update(repository=None)


def visible(request: Request) -> QuerySet[Organization]:
    """Return the organizations that the caller acts for; raise a 403 for a key without the scope read."""
    if isinstance(request.auth, ApiKey) and Scope.READ not in INCLUDED[Scope(request.auth.scope)]:
        raise PermissionDenied(f"Requires the scope read; this key has the scope {request.auth.scope}.")
    if is_operator(request):
        return Organization.objects.all()
    if isinstance(request.auth, ApiKey):
        return Organization.objects.filter(api_keys=request.auth)
    person = request.user.pk
    if person is None:
        raise Http404
    return Organization.objects.filter(memberships__user_id=person)


def save(
    serializer: "BaseSerializer[Organization] | BaseSerializer[Repository]", *, name: str, **more: object
) -> object:
    """Validate and save the fields and return the result; raise a 422 for invalid fields, a 409 for a taken name."""
    validated(serializer)
    before = None if serializer.instance is None else audited(serializer.instance)[1]
    refuse_taken(serializer, **more)
    try:
        with transaction.atomic():
            saved = serializer.save(**more)
            target, after = audited(saved)
            if before is None:
                audit.record(f"{target.kind}.created", target=target, after=after, now=timezone.now())
            else:
                action = f"{target.kind}.updated"
                audit.record_update(action, target=target, before=before, after=after, now=timezone.now())
    except IntegrityError as error:
        raise conflict("This name is already taken.", fields={name: "is already taken; choose another"}) from error
    return serializer.data


def refuse_taken(serializer: "BaseSerializer[Organization] | BaseSerializer[Repository]", **more: Any) -> None:
    """Raise a 409 if another row has the requested name, in any case."""
    row = serializer.instance or getattr(serializer, "Meta").model(**more)  # noqa: B009 - the stubs do not have it
    name = names.field_of(row)
    value = serializer.validated_data.get(name, getattr(row, name))
    if value != getattr(row, name) and (error := names.name_error(row, value)):
        raise conflict("This name is already taken.", fields={name: error})


def change(
    serializer: "BaseSerializer[Organization] | BaseSerializer[Repository]",
    locked: QuerySet[Organization] | QuerySet[Repository],
    *,
    name: str,
) -> object:
    """Change only the given fields, as ``save`` does; raise a 404 if the row has been deleted meanwhile."""
    with transaction.atomic():
        # Read again under a lock: saving the copy read before could restore a deleted row or undo a concurrent change.
        if (found := locked.first()) is None:
            raise Http404
        serializer.instance = found
        return save(serializer, name=name)
