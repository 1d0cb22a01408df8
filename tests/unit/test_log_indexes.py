"""Which index a log of the admin is read by, and which of the filters it serves."""

import pytest
from django.contrib import admin

from deliveries.models import AuditEntry, Delivery
from hookhub.admin.filters import TIMES
from hookhub.admin.logs import LogAdmin


@pytest.mark.parametrize(
    ("model", "filters", "index", "served"),
    [
        (Delivery, {}, "hookhub_delivery_pkey", TIMES),
        (Delivery, {"type": "push"}, "hookhub_delivery_pkey", TIMES),
        (Delivery, {"state": "delivered"}, "hookhub_delivery_pkey", TIMES),
        (Delivery, {"state": "due"}, "delivery_ready", {"state"}),
        (Delivery, {"state": "due", "webhook": "1"}, "delivery_ready", {"state", "webhook"}),
        (Delivery, {"state": "later", "webhook": "1"}, "delivery_scheduled", {"state"}),
        (Delivery, {"state": "held"}, "delivery_failed_or_held", {"state", *TIMES}),
        (Delivery, {"state": "held", "webhook": "1"}, "delivery_held", {"state", "webhook", *TIMES}),
        (Delivery, {"state": "failed", "webhook": "1"}, "delivery_failed_of_webhook", {"state", "webhook", *TIMES}),
        (Delivery, {"state": "failed", "organization": "acme"}, "delivery_failed_or_held", {"state", *TIMES}),
        (Delivery, {"state": "sending"}, "delivery_leased", {"state", *TIMES}),
        (Delivery, {"organization": "acme", "period": "1h"}, "delivery_log", {"organization", *TIMES}),
        (AuditEntry, {"organization": "acme", "action": "a"}, "audit_of_org_by_action",
         {"organization", "action", *TIMES}),
        (AuditEntry, {"organization": "acme", "action": "a", "actor": "1"}, "audit_by_actor", {"actor", *TIMES}),
        (AuditEntry, {"actor": "1", "target": "2"}, "audit_by_target", {"target", *TIMES}),
    ],
)  # fmt: skip
def test_the_first_index_for_the_filters_is_used(
    model: type, filters: dict[str, str], index: str, served: set[str]
) -> None:
    page = admin.site._registry[model]
    assert isinstance(page, LogAdmin)

    found = page.index_for(filters)

    assert (found.name, found.parameters) == (index, served)
