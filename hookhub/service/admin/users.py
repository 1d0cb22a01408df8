"""The admin's pages of users and groups, with every change in the audit log."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase

from deliveries import audit, timezone
from deliveries.db.lookups import find_one
from hookhub.admin.auditing import Audited
from hookhub.admin.saving import SavesChangedFieldsOnly
from hookhub.admin.tenancy import is_unrestricted, organizations_of
from hookhub.audited import audited
from hookhub.models import Membership, Scope

if TYPE_CHECKING:
    DjangoUserAdmin = UserAdmin[User]
else:
    # Generic in the type stubs only, not at run time.
    DjangoUserAdmin = UserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class AuditedUserAdmin(Audited, SavesChangedFieldsOnly, DjangoUserAdmin):
    """Users. Only superusers may change them; other staff see the members of their organizations."""

    # A user who may set passwords or tick "superuser" can act as any other user.
    def rows_with_scope(self, request: HttpRequest, rows: QuerySet[Any], *, scope: Scope) -> QuerySet[Any]:
        """Return the members of the organizations in which the user has ``scope``; all users for a superuser."""
        if is_unrestricted(request):
            return rows
        colleagues = Membership.objects.filter(organization__in=organizations_of(request, scope=scope))
        return rows.filter(pk__in=colleagues.values("user_id"))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow users with the view permission; ``rows_with_scope`` decides which users they see."""
        return request.user.has_perm("auth.view_user") or super().has_view_permission(request, obj)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Leave out the filter by group, except for superusers: groups belong to no organization."""
        declared = super().get_list_filter(request)
        return declared if is_unrestricted(request) else [name for name in declared if name != "groups"]

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """Set a user's password and record it in the audit log."""
        with transaction.atomic():
            found: Any = self.get_object(request, id)
            user = None if found is None else locked(found.pk)
            before = None if user is None else audited(user)[1]
            response = super().user_change_password(request, id, form_url)
            if user is not None and before is not None:
                record_password(user.pk, before)
        return response

    def cascaded(self, obj: Any) -> list[Model]:
        """Return the memberships that are deleted with a user."""
        return list(Membership.objects.filter(user=obj).select_related("user", "organization"))


@admin.register(Group)
class AuditedGroupAdmin(Audited, SavesChangedFieldsOnly, GroupAdmin):
    pass


def change_own_password(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
    """Change the password of the logged-in user and record it in the audit log."""
    with transaction.atomic():
        user = None if request.user.pk is None else locked(request.user.pk)
        before = None if user is None else audited(user)[1]
        # Django's form saves all that it knows of this user, which was read before the lock.
        request.user = request.user if user is None else user
        response = _change_password(request, extra_context)
        if user is not None and before is not None:
            record_password(user.pk, before)
    return response


_change_password = admin.site.password_change


def locked(pk: int) -> User | None:
    """Lock a user until the transaction ends, so that saving all fields undoes no other change; None if it is gone."""
    return find_one(User.objects.select_for_update(no_key=True).filter(pk=pk))


def record_password(pk: int, before: audit.State) -> None:
    """Record a new password in the audit log, unless the password is unchanged."""
    target, after = audited(User.objects.get(pk=pk))
    audit.record_update("user.password_changed", target=target, before=before, after=after, now=timezone.now())
