"""What the audit log shows of organizations, users, groups, memberships, API keys, event types and replays."""

from collections.abc import Mapping

from django.contrib.auth.models import Group, User
from django.db.models import Model

from deliveries.audit import Masked, State, Target, state_of
from deliveries.audited import organization_state, organization_target, repository_state, repository_target
from deliveries.models import Organization, Repository
from hookhub.models import ApiKey, CustomEventType, Membership, Replay

USER_FIELDS = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")


def audited(found: Model) -> tuple[Target, State]:
    """Return a row as an audit target, with its audited fields; raise TypeError for a model that is not audited."""
    match found:
        case Organization():
            return organization_target(found), organization_state(found)
        case Repository():
            return repository_target(found), repository_state(found)
        case ApiKey():
            return found.as_target(), found.as_state()
        case Membership():
            label = f"{found.user.get_username()} in {found.organization.slug}"
            target = Target("membership", str(found.pk), label, found.organization)
            state = {"user": found.user.get_username(), "organization": found.organization.slug, "role": found.role}
            return target, state
        case CustomEventType():
            target = Target("event_type", found.type, found.type, found.organization)
            return target, state_of(found, "type", "description", "schema", "example")
        case User():
            return _user(found)
        case Group():
            permissions = sorted(found.permissions.values_list("content_type__app_label", "codename"))
            group: State = {"name": found.name, "permissions": [".".join(each) for each in permissions]}
            return Target("group", str(found.pk), found.name, None), group
    raise TypeError(f"{type(found).__name__} is not audited")


def replay_target(replay: Replay) -> Target:
    """Return a replay as an audit target."""
    return Target("replay", str(replay.pk), str(replay.pk), replay.organization)


def _user(user: User) -> tuple[Target, State]:
    permissions = sorted(user.user_permissions.values_list("content_type__app_label", "codename"))
    state: Mapping[str, object] = {
        **state_of(user, *USER_FIELDS),
        "password": Masked(user.password),
        "groups": sorted(user.groups.values_list("name", flat=True)),
        "permissions": [".".join(each) for each in permissions],
    }
    return Target("user", user.get_username(), user.get_username(), None), state
