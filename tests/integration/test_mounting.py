"""HookHub in a project's URLs under a path with parameters, such as the project's tenant."""

import pytest
from django.test import Client
from django.urls import include, path, re_path
from pytest_django import Settings

from deliveries.models import Event
from tests.api import Caller
from tests.story import Forge

pytestmark = pytest.mark.django_db

urlpatterns = [
    path("<str:tenant>/hooks/", include("hookhub.urls")),
    re_path(r"^files/(?P<path>\w+)/", include("hookhub.urls")),
    re_path(r"^by/(\w+)/", include("hookhub.urls")),
]


@pytest.mark.parametrize("prefix", ["/acme/hooks", "/a%20b/hooks", "/m%C3%BC%25/hooks", "/files/one", "/by/one"])
def test_it_answers_under_a_path_with_parameters(forge: Forge, caller: Caller, settings: Settings, prefix: str) -> None:
    settings.ROOT_URLCONF = __name__
    program = Client(headers={"Authorization": f"Bearer {caller.key}"})

    home = program.get(f"{prefix}/", headers={"Accept": "text/html"})
    listed = program.get(f"{prefix}/v1/")
    published = program.post(f"{prefix}/v1/events", {"type": "push", "data": 1}, content_type="application/json")
    made = program.post(
        f"{prefix}/v1/webhooks", {"url": forge.receiver.url(), "events": ["*"]}, content_type="application/json"
    )

    assert (home.status_code, published.status_code, made.status_code) == (200, 202, 201)
    assert listed.json()["webhooks"] == f"http://testserver{prefix}/v1/webhooks"
    assert made.headers["Location"] == f"{prefix}/v1/webhooks/{made.json()['id']}"
    assert program.get(f"{prefix}/v1/nothing").status_code == 404
    assert Event.objects.filter(type="push").count() == 1
