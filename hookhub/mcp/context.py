"""Who calls, and where: what the methods and the tools need to know of a request."""

from datetime import datetime
from typing import NamedTuple

from rest_framework.request import Request

from deliveries.models import Organization
from hookhub.models import ApiKey


class Context(NamedTuple):
    """A request, its key, and the organization in which the key acts."""

    request: Request
    key: ApiKey
    organization: Organization
    now: datetime

    @property
    def caller(self) -> str:
        """Return what subscriptions belong to: the key's id, which it keeps when it is rolled."""
        return self.key.key_id
