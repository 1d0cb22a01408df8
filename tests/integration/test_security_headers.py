"""Security headers, the lifetime of sessions, and that a deployment's settings pass Django's checks."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.test import Client
from freezegun import freeze_time
from pytest_django import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def person(db: None) -> User:
    return User.objects.create_superuser("mona", password="correct horse battery")


@pytest.mark.parametrize(
    "address", ["/admin/login/", "/v1/auth/login/", "/v1/", "/v1/docs", "/v1/webhooks", "/nowhere", "/admin/nowhere/"]
)
def test_every_page_says_what_it_may_load_and_is_not_kept(db: None, address: str) -> None:
    answer = Client().get(address, headers={"Accept": "text/html"})

    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(person: User, settings: Settings) -> None:
    settings.HOOKHUB_SESSION_IDLE, settings.SESSION_COOKIE_AGE = timedelta(hours=2), 5 * 3600
    client = Client()
    with freeze_time("2026-03-04T08:00:00Z") as clock:
        client.force_login(person)
        statuses = []
        for hours in (0, 1.9, 1.9, 1, 1):
            clock.tick(timedelta(hours=hours))
            statuses.append(client.get("/admin/").status_code)
        client.force_login(person)
        for hours in (0, 2.1):
            clock.tick(timedelta(hours=hours))
            statuses.append(client.get("/admin/").status_code)

    assert statuses == [200, 200, 200, 200, 302, 200, 302]


def test_check_deploy_finds_nothing_in_a_deployments_settings(tmp_path: Path) -> None:
    production = {
        "PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "hookhub.service.settings", "HOOKHUB_HOME": str(tmp_path),
        "DATABASE_URL": "postgresql://hookhub@127.0.0.1:1/hookhub", "REDIS_URL": "redis://127.0.0.1:1/0",
        "HOOKHUB_SECRET_KEY": "Kq7x" * 3 + "9zL-w2mR_vT5yU8bN1cD4fG6hJ0kP3sA7eXoQiWZaBlMd",
        "HOOKHUB_ENCRYPTION_KEYS": Fernet.generate_key().decode(), "HOOKHUB_SERVED_HOSTS": "hooks.example.org",
        "HOOKHUB_PUBLIC_URL": "https://hooks.example.org", "HOOKHUB_BEHIND_TLS_PROXY": "1",
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env=production, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "System check identified no issues" in done.stdout
