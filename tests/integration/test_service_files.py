"""systemd and nginx accept what is in deploy/."""

import subprocess
import sys
from pathlib import Path

import pytest

from hookhub.procfile import ROOT
from tests import debian
from tests.certificates import Identity

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
# Of 100; more would be less secure. Most services have 96.
EXPOSURE = 20


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_a_unit_and_finds_it_hardened(unit: Path, tmp_path: Path) -> None:
    analyze = debian.require("systemd-analyze", package="systemd")
    # systemd looks whether the program is there.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/hookhub/.venv/bin/python", sys.executable))

    assert run(analyze, "verify", copy) == ""
    run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", copy)


def test_a_worker_has_time_to_finish_its_requests() -> None:
    text = (ROOT / "deploy" / "systemd" / "hookhub-worker.service").read_text()

    assert "\nTimeoutStopSec=60\n" in text
    assert "manage.py run worker" in text


def test_web_server_and_worker_share_the_folder_of_their_metrics() -> None:
    found = {unit.stem: unit.read_text() for unit in UNITS if "PrivateTmp=yes" in unit.read_text()}
    # Kept when one of the two stops.
    lines = (
        "RuntimeDirectory=hookhub",
        "RuntimeDirectoryPreserve=yes",
        "Environment=HOOKHUB_METRICS_DIR=/run/hookhub/metrics",
    )

    del found["hookhub-migrate"]
    assert {name: [line for line in lines if f"\n{line}\n" not in text] for name, text in found.items()} == {
        "hookhub-web": [], "hookhub-worker": [],
    }  # fmt: skip


def test_nginx_accepts_the_site(tmp_path: Path) -> None:
    nginx = debian.require("nginx", package="nginx-light")
    certificate = Identity.make(tmp_path / "pem", "hooks.example.org").path
    site = (ROOT / "deploy" / "nginx-site.conf").read_text()
    for name in ("fullchain.pem", "privkey.pem"):
        site = site.replace(f"/etc/letsencrypt/live/hooks.example.org/{name}", str(certificate))
    site = site.replace("/var/log/nginx/", f"{tmp_path}/").replace("listen [::]", "# listen [::]")
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(f"pid {tmp_path}/nginx.pid; events {{}} http {{ {site} }}")

    assert "test is successful" in run(nginx, "-t", "-e", tmp_path / "errors.log", "-c", configuration)


def test_nginx_accepts_the_proxy_of_the_containers(tmp_path: Path) -> None:
    nginx = debian.require("nginx", package="nginx-light")
    text = (ROOT / "deploy" / "nginx.conf").read_text().replace("/tmp/nginx", f"{tmp_path}/nginx")
    (tmp_path / "nginx.conf").write_text(text)

    assert "test is successful" in run(nginx, "-t", "-e", "stderr", "-c", tmp_path / "nginx.conf")
