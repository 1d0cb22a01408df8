"""The service from its wheel, in an environment and a folder that have nothing else; and docs/django.md as printed."""

import json
import os
import re
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import requests
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from hookhub.client import Client
from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.processes import free_port, wait_for
from testbed.servers import temporary_home
from tests.receiver import Receiver
from tests.wheel import NEWEST, SERVICE, environment

pytestmark = pytest.mark.acceptance

PAGE = (ROOT / "docs" / "django.md").read_text()


def git(*arguments: str, cwd: Path) -> None:
    who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(cwd)}
    names = {f"GIT_{role}_{part}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=cwd, env={"PATH": os.environ["PATH"], **who, **names}, check=True)


def outside(programs: Path, **variables: str) -> dict[str, str]:
    """Return an environment that leads to nothing of this checkout."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}


@contextmanager
def started(command: list[str], *, cwd: Path, variables: dict[str, str], log: Path) -> Iterator[None]:
    """Run a program, and require that it stops cleanly."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(90)
    assert code == 0, log.read_text()


def test_the_wheel_holds_two_packages_and_what_they_read(tmp_path: Path) -> None:
    programs = environment(SERVICE)
    [wheel] = (programs.parent.parent).glob("*/*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"hookhub", "deliveries"}
    kinds = {"html", "txt", "css", "js", "po", "mo", "json"}
    read = {
        str(path.relative_to(ROOT))
        for package in ("hookhub", "deliveries")
        for path in (ROOT / package).rglob("*")
        if path.suffix[1:] in kinds
    }
    assert read - set(names) == set()
    pages = {f"hookhub/{path.relative_to(ROOT)}" for path in (ROOT / "docs").rglob("*.md")}
    assert {name for name in names if "/docs/" in name} == {*pages, "hookhub/docs/llms.txt"}


def test_the_command_runs_the_service_in_an_empty_folder(tmp_path: Path, receiver: Receiver) -> None:
    programs, port = environment(SERVICE), free_port()
    with temporary_home("hookhub-test-") as home:
        variables = outside(programs, HOME=str(tmp_path), HOOKHUB_HOME=str(home), WEB_WORKERS="1")

        def run(*command: str) -> str:
            done = subprocess.run(
                [str(programs / command[0]), *command[1:]], cwd=tmp_path, env=variables, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        run("hookhub", "check")
        assert "--forward" in run("hookhub", "listen", "--help")
        command = [str(programs / "hookhub"), "up", "--port", str(port), "--no-first-steps"]
        with started(command, cwd=tmp_path, variables=variables, log=tmp_path / "up.log"):
            wait_for(lambda: service.is_ready(f"http://127.0.0.1:{port}"), "the service")
            assert pages_listed_by(f"http://127.0.0.1:{port}") == len(list((ROOT / "docs").rglob("*.md")))
            key = run("hookhub", "create_api_key", "--organization", "acme", "--create-organization").strip()
            with Client(f"http://127.0.0.1:{port}", key) as client:
                client.webhooks.create(receiver.url("/hook"), events=["*"])
                client.publish("build.finished", {"status": "passed"})
                receiver.wait_for(1, seconds=90)
                (tmp_path / "key.txt").touch(mode=0o600)
                (tmp_path / "key.txt").write_text(key)
                git("init", "--quiet", "--bare", "widgets.git", cwd=tmp_path)
                url = f"http://127.0.0.1:{port}"
                run("hookhub", "post_receive", "--install", "widgets.git", "--url", url, "--api-key-file", "key.txt",
                    "--create")  # fmt: skip
                git("clone", "--quiet", "widgets.git", "clone", cwd=tmp_path)
                git("commit", "--quiet", "--allow-empty", "--message", "first", cwd=tmp_path / "clone")
                git("push", "--quiet", "origin", "HEAD", cwd=tmp_path / "clone")
                arrived = receiver.wait_for(3, seconds=90)

    told = sorted(json.loads(request.body)["type"] for request in arrived)
    assert told == ["branch.created", "build.finished", "push"]


def pages_listed_by(url: str) -> int:
    """Return how many pages `/llms.txt` lists; each must be there as Markdown."""
    listed = requests.get(f"{url}/llms.txt", timeout=30)
    assert listed.status_code == 200, listed.text
    links = re.findall(r"\((\S+/docs/\S+\.md)\)", listed.text)
    for link in links:
        # The links begin with the public URL, which need not be this one.
        answer = requests.get(f"{url}/docs/{link.partition('/docs/')[2]}", timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8"), link
        assert answer.text.startswith("# "), link
    return len(links)


def test_without_its_extras_the_command_says_what_to_install(tmp_path: Path) -> None:
    programs = environment(NEWEST)
    done = subprocess.run(
        [str(programs / "hookhub"), "check"], cwd=tmp_path, env=outside(programs, HOME=str(tmp_path)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "pip install 'hookhub[service]'" in done.stderr


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_about_django_works_as_it_is_printed(tmp_path: Path, receiver: Receiver) -> None:
    programs = environment(NEWEST)
    of_settings, of_urls, of_order = blocks("python")[:3]
    installed, tables, of_key = blocks("sh")[:3]
    server = {name: str(value) for name, value in conninfo_to_dict(settings.DATABASE_URL).items()}
    database = f"page_{uuid4().hex}"
    variables = outside(programs, HOME=str(tmp_path), DJANGO_SETTINGS_MODULE="shop.settings")

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]], cwd=tmp_path, env=variables, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("django-admin", "startproject", "shop", ".")
    with (tmp_path / "shop" / "settings.py").open("a") as file:
        parts = {"NAME": database, "HOST": server["host"], "USER": server["user"]}
        file.write(f"DATABASES['default'] = {{'ENGINE': 'django.db.backends.postgresql', **{parts!r}}}\n{of_settings}")
    with (tmp_path / "shop" / "urls.py").open("a") as file:
        file.write(of_urls)
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {database}")
        try:
            migrate, work = tables.strip().splitlines()
            run(*migrate.split())
            key = run(*of_key.split()).strip()
            program = f"""
import django; django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
order = get_user_model()(username="an order")
made = Client(SERVER_NAME="localhost", headers={{"Authorization": "Bearer {key}"}}).post(
    "/webhooks/v1/webhooks", {{"url": "{receiver.url("/hook")}", "events": ["*"]}}, content_type="application/json")
assert made.status_code == 201, made.content
{of_order}
"""
            command, *arguments = work.split()
            worker = [str(programs / command), *arguments]
            with started(worker, cwd=tmp_path, variables=variables, log=tmp_path / "worker.log"):
                run("python", "-c", program)
                [arrived] = receiver.wait_for(1, seconds=90)
        finally:
            link.execute(f"DROP DATABASE {database} WITH (FORCE)")

    assert installed == "pip install hookhub\n"
    assert b'"order.paid"' in arrived.body
