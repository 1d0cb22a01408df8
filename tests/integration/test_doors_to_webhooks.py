"""Less common ways to change things: a repository, a Campfire hook, a notification, networks, a membership."""

from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries.formats import MASK
from deliveries.models import AuditEntry, Organization, Repository, Webhook
from hookhub import cache_invalidation
from hookhub.http import authentication, networks
from hookhub.models import ApiKey, Membership, Scope
from tests.api import Caller
from tests.story import Forge

pytestmark = pytest.mark.django_db


def test_a_repository_whose_webhooks_are_the_owners_is_not_deleted_with_them_by_a_lesser_key(
    forge: Forge, now: datetime
) -> None:
    Organization.objects.update(default_dialect="coregit")
    webhook = forge.webhook(now=now, repository=forge.repository)
    lesser, master = (Caller.of(forge.organization, scope) for scope in (Scope.MANAGE, Scope.MASTER))

    assert lesser.delete("/v1/repositories/widgets").status_code == 403
    assert Repository.objects.filter(name="widgets").exists()
    assert Webhook.objects.kept().get().pk == webhook.pk

    assert master.delete("/v1/repositories/widgets").status_code == 204
    assert not Webhook.objects.kept().exists()


def test_a_token_in_the_query_of_a_campfire_hook_is_masked_by_github_as_everywhere(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, repository=forge.repository, path="/room?token=s3cret", format="campfire")
    api = Caller.of(forge.organization)
    hook = f"/repos/acme/widgets/hooks/{webhook.pk}"

    answers = [api.get(path).content.decode() for path in (hook, f"{hook}/config", "/repos/acme/widgets/hooks")]

    assert all(f"/room?token={MASK}" in answer and "s3cret" not in answer for answer in answers)


@pytest.mark.parametrize("notice", ["organization:x", "event_types:", "organization:9" + "9" * 5000, "x", "", "²:²"])
def test_a_notice_that_is_not_understood_has_everything_forgotten_and_ends_nothing(
    organization: Organization, now: datetime, notice: str
) -> None:
    key, _ = ApiKey.issue(organization=organization, scope=Scope.READ, now=now)
    authentication.cached_key(key.key_id, now=now)
    ApiKey.objects.update(revoked_at=now)
    assert authentication.cached_key(key.key_id, now=now) is not None

    cache_invalidation.invalidate(notice)

    assert authentication.cached_key(key.key_id, now=now) is None


@pytest.mark.parametrize(
    ("given", "stored", "address", "is_in"),
    [
        ("::ffff:192.0.2.0/120", "192.0.2.0/24", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "192.0.2.7/32", "::ffff:192.0.2.7", True),
        ("::ffff:c000:207", "192.0.2.7/32", "192.0.2.8", False),
        ("::/0", "::/0", "192.0.2.7", False),
        ("2001:db8::/32", "2001:db8::/32", "2001:db8::1", True),
    ],
)
def test_a_network_of_ipv4_written_as_ipv6_is_the_network_of_ipv4(
    given: str, stored: str, address: str, *, is_in: bool
) -> None:
    assert networks.normalized([given]) == [stored]
    assert networks.contains([stored], address) is is_in
    # As earlier versions may have stored it.
    assert networks.contains([given], address) is is_in


def test_a_membership_is_not_moved_out_of_the_organization_whose_audit_log_tells_of_it(
    organization: Organization, client: Client
) -> None:
    other = Organization.objects.create(slug="other")
    person, somebody = User.objects.create_user("pat"), User.objects.create_user("sam")
    membership = Membership.objects.create(user=person, organization=organization)
    client.force_login(User.objects.create_superuser("op"))
    moved = {"user": somebody.pk, "organization": other.pk, "role": "reader"}

    client.post(f"/admin/hookhub/membership/{membership.pk}/change/", moved)

    membership.refresh_from_db()
    assert (membership.user, membership.organization, membership.role) == (person, organization, "reader")
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.organization_slug, entry.after) == ("membership.updated", "acme", '{"role": "reader"}')
