"""A HookHub with real sockets on loopback: Django's own server in threads, and the pipeline in the test's thread."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from deliveries.models import Organization, Repository
from deliveries.worker.loop import run_until_idle
from hookhub.models import ApiKey, Scope
from tests.api import Caller


@dataclass
class Live:
    """The URL of the server, the caller, and the repository."""

    url: str
    key: str
    organization: Organization
    repository: Repository

    @classmethod
    def make(cls, url: str) -> "Live":
        organization = Organization.objects.create(slug="octocat")
        repository = Repository.objects.create(organization=organization, name="Hello-World")
        _, key = ApiKey.issue(organization=organization, scope=Scope.MASTER, now=timezone.now())
        return cls(url, key, organization, repository)

    def publish(self, event_type: str, data: object) -> None:
        """Publish through the native API, as a forge does."""
        event = {"type": event_type, "repository": self.repository.name, "data": data}
        assert Caller(self.key).post("/v1/events", event).status_code == 202


def deliver() -> None:
    """Send all due deliveries, as a worker does."""
    run_until_idle(timedelta(seconds=30))
