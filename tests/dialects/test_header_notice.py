"""Creating a hook through GitHub's API shows the header names that its deliveries will have."""

import pytest

from tests.api import Caller
from tests.story import Forge

NOTICE = (
    "Deliveries carry X-SocialGateway-Event and X-SocialGateway-Delivery headers. "
    "For X-GitHub-Event, set the organization's default_format to github."
)


@pytest.mark.django_db
@pytest.mark.parametrize(("wire_format", "notice"), [("social-gateway", NOTICE), ("github", None)])
def test_a_new_hook_says_where_its_deliveries_lack_githubs_header_names(
    forge: Forge, wire_format: str, notice: str | None
) -> None:
    forge.organization.default_format = wire_format
    forge.organization.save()

    answer = Caller.of(forge.organization).post(
        "/repos/acme/widgets/hooks", {"config": {"url": forge.receiver.url("/hook")}}
    )

    assert answer.status_code == 201
    assert answer.headers.get("X-HookHub-Notice") == notice
