"""What a worker has left for long is deleted in parts: no statement takes longer than it may, however much there is."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from deliveries.db.ids import uuid7
from deliveries.worker.scheduler import run_task
from hookhub import portal_sessions, replays
from hookhub.models import PortalSession, Replay
from hookhub.service import login_sessions
from tests.api import Caller
from tests.portal import ask
from tests.story import Forge

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
SESSIONS = "hookhub.service.login_sessions.prune_ended"


def test_replays_past_the_retention(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    ended = now - settings.HOOKHUB_RETENTION - DAY
    Replay.objects.bulk_create(
        Replay(
            id=uuid7(ended), organization=forge.organization, asked={}, selection={}, total=0, upto=uuid7(ended),
            state=state, finished_at=finished_at,
        )
        for state, finished_at in [("finished", ended)] * 5 + [("finished", now)]
    )  # fmt: skip
    monkeypatch.setattr(replays, "PRUNE_BATCH", 2)
    left = []

    for _ in range(4):
        replays.run_replays(now=now)
        left.append(Replay.objects.count())

    assert left == [4, 2, 1, 1]


def test_sessions_of_the_portal_that_have_ended(forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        ask(caller)
    now = timezone.now()
    PortalSession.objects.update(expires_at=now - 2 * DAY)
    ask(caller)
    monkeypatch.setattr(portal_sessions, "PRUNE_BATCH", 2)

    assert [portal_sessions.prune_ended(now=now) for _ in range(4)] == [2, 2, 1, 0]
    assert PortalSession.objects.count() == 1


def test_sessions_of_logins_that_have_ended(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_superuser("op", "op@example.com")
    for _ in range(5):
        Client().force_login(user)
    now = timezone.now()
    Session.objects.update(expire_date=now - timedelta(seconds=1))
    browser = Client()
    browser.force_login(user)
    monkeypatch.setattr(login_sessions, "PRUNE_BATCH", 2)
    left = []

    assert SESSIONS in settings.HOOKHUB_CHORES
    for _ in range(4):
        run_task(SESSIONS, login_sessions.prune_ended, now=now)
        left.append(Session.objects.count())

    assert left == [4, 2, 1, 1]
    assert browser.get("/admin/").status_code == 200
