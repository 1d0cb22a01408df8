"""Lists of webhooks read those of their own organization, however many of others were created before or since."""

from datetime import datetime

import pytest
from django.db import connection

from deliveries.models import Organization, Repository, Webhook
from tests.api import Caller
from tests.integration.test_admin_beside_a_huge_tenant import measured
from tests.story import Forge

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_files")]

OWN, OTHERS = 600, 5000

LISTS = {
    "native": "/v1/webhooks",
    "native, of a repository": "/v1/webhooks?repository=widgets",
    "social gateway": "/repos/acme/widgets/hooks?per_page=10",
    "Sigmagit": "/api/repositories/acme/widgets/webhooks",
}


def copies(webhook: Webhook, count: int, *, repository: Repository) -> None:
    """Insert copies of a webhook into a repository."""
    columns = [field.column for field in Webhook._meta.concrete_fields]
    changed = {"uid": "gen_random_uuid()", "organization_id": str(repository.organization_id),
               "repository_id": str(repository.pk)}  # fmt: skip
    rest = {name: f'w."{name}"' for name in columns if name not in {"id", *changed}}
    values = changed | rest
    names = ", ".join(f'"{name}"' for name in values)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO hookhub_webhook ({names}) SELECT {', '.join(values.values())} "
            "FROM hookhub_webhook w, generate_series(1, %s) WHERE w.id = %s",
            [count, webhook.pk],
        )


@pytest.fixture
def caller(forge: Forge, now: datetime) -> Caller:
    huge = Organization.objects.create(slug="huge").repositories.create(name="mono")
    one = forge.webhook(now=now, repository=forge.repository)
    for count, repository in ((OTHERS, huge), (OWN, forge.repository), (OTHERS, huge)):
        copies(one, count, repository=repository)
    one.delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hookhub_webhook")
    return Caller.of(forge.organization)


@pytest.mark.parametrize("address", LISTS.values(), ids=LISTS)
def test_a_list_reads_no_webhooks_of_others(caller: Caller, address: str) -> None:
    with measured() as rows:
        answer = caller.get(address)

    assert answer.status_code == 200
    assert len(answer.content) > 1000
    assert {sql: most for sql, most in rows.items() if most > 2 * OWN} == {}
    assert max(rows.values()) > 0
