"""The Helm chart and the Caddyfile are accepted by the programs that will read them, and by Kubernetes' schemas."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hookhub.procfile import ROOT
from tests.partners.deployment_tools import CADDY, CUSTOM, HELM, TOOLS, VALIDATE, run, schema_file
from tests.printed import blocks_below

pytestmark = pytest.mark.deployment

CHART = ROOT / "deploy" / "helm" / "hookhub"
# The oldest and the newest that the schemas are there for.
VERSIONS = ("1.29.0", "1.37.0")
SECRETS = {
    "DATABASE_URL": "postgresql://hookhub:secret@db/hookhub",
    "REDIS_URL": "redis://redis:6379/0",
    "HOOKHUB_SECRET_KEY": "a",
    "HOOKHUB_ENCRYPTION_KEYS": "b",
}
LEAST = {"image": {"repository": "registry.example.org/hookhub"}, "publicUrl": "https://hooks.example.org"}
VALUES: dict[str, dict[str, Any]] = {
    "the least": {**LEAST, "existingSecret": "hookhub"},
    "secrets": {**LEAST, "secrets": SECRETS},
    "everything": {
        **LEAST,
        "image": {"repository": "hookhub", "digest": f"sha256:{'0' * 64}"},
        "publicUrl": "https://example.org:8443/hooks",
        "secrets": SECRETS | {"HOOKHUB_EMAIL_PASSWORD": "x: y"},
        "settings": {"HOOKHUB_RETENTION_DAYS": 7, "HOOKHUB_HTTPS_ONLY": True, "HOOKHUB_SERVED_HOSTS": "a,b"},
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "hookhub",
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/hookhub", "readOnly": True}],
        "web": {"tolerations": [{"key": "a", "operator": "Exists"}], "nodeSelector": {"disk": "ssd"}},
        "worker": {"affinity": {"nodeAffinity": {}}, "podAnnotations": {"a": "b"}},
        "service": {"annotations": {"a": "b"}, "type": "LoadBalancer"},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "autoscaling": {"kind": "keda", "prometheusUrl": "http://prometheus:9090"},
    },
    "an HPA, and nothing that can be left out": {
        **LEAST,
        "existingSecret": "hookhub",
        "publicUrl": "http://hooks.internal",
        "autoscaling": {"kind": "hpa"},
        "migrate": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}


def rendered(values: dict[str, Any], folder: Path, *, version: str = VERSIONS[0]) -> list[dict[str, Any]]:
    """Return the objects that the chart makes of values, after Helm has linted it with them."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    run(HELM, "lint", "--strict", CHART, "--values", folder / "values.yaml")
    command = (HELM, "template", "acme", CHART, "--kube-version", version, "--values", folder / "values.yaml")
    (folder / "objects.yaml").write_text(run(*command))
    return [found for found in yaml.safe_load_all((folder / "objects.yaml").read_text()) if found]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_would_accept_every_object(values: dict[str, Any], version: str, tmp_path: Path) -> None:
    objects = rendered(values, tmp_path, version=version)

    custom = [each for each in objects if f"{each['apiVersion']} {each['kind']}" in CUSTOM]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump_all([each for each in objects if each not in custom]))
    printed = run(VALIDATE, "--strict", "-k", version, tmp_path / "own.yaml")
    assert "WARN" not in printed
    for each in custom:
        definition = yaml.safe_load(schema_file(f"{each['apiVersion']} {each['kind']}").read_text())
        [schema] = [
            found["schema"]["openAPIV3Schema"]
            for found in definition["spec"]["versions"]
            if found["name"] == each["apiVersion"].rpartition("/")[2]
        ]
        jsonschema.validate(each, schema)
        assert each["spec"].keys() <= schema["properties"]["spec"]["properties"].keys()


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_container_is_without_rights_and_stops_in_time(values: dict[str, Any], tmp_path: Path) -> None:
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in rendered(values, tmp_path)
        if each["kind"] in {"Deployment", "Job"}
    }

    assert {name.removeprefix("acme-hookhub-") for name in pods} >= {"web", "worker"}
    for pod in pods.values():
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    # The longest request takes 30 s; a web server first goes on for a moment.
    assert pods["acme-hookhub-worker"]["terminationGracePeriodSeconds"] >= 40
    assert "livenessProbe" not in pods["acme-hookhub-worker"]["containers"][0]
    web = pods["acme-hookhub-web"]["containers"][0]
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert web["livenessProbe"]["httpGet"]["path"] == web["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_settings_follow_from_the_public_url_and_what_is_given_replaces_them(tmp_path: Path) -> None:
    def settings(values: dict[str, Any]) -> dict[str, str]:
        return next(each["data"] for each in rendered(values, tmp_path) if each["kind"] == "ConfigMap")

    assert settings(VALUES["the least"]) == {
        "HOOKHUB_PUBLIC_URL": "https://hooks.example.org",
        "HOOKHUB_SERVED_HOSTS": "hooks.example.org",
        "HOOKHUB_TRUSTED_ORIGINS": "https://hooks.example.org",
        "HOOKHUB_BEHIND_TLS_PROXY": "1",
    }
    found = settings(VALUES["everything"])
    assert (found["HOOKHUB_SERVED_HOSTS"], found["HOOKHUB_HTTPS_ONLY"]) == ("a,b", "true")
    assert found["HOOKHUB_TRUSTED_ORIGINS"] == "https://example.org:8443"
    assert "HOOKHUB_BEHIND_TLS_PROXY" not in settings(VALUES["an HPA, and nothing that can be left out"])


def test_migrations_run_before_the_release_with_a_secret_of_their_own(tmp_path: Path) -> None:
    hooks = {
        each["kind"]: each
        for each in rendered(VALUES["secrets"], tmp_path)
        if each["metadata"]["name"] == "acme-hookhub-migrate"
    }

    assert hooks.keys() == {"ConfigMap", "Secret", "Job"}
    for each in hooks.values():
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert hooks["Secret"]["stringData"] == SECRETS
    assert hooks["Job"]["spec"]["template"]["spec"]["containers"][0]["command"][2] == "migrate"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"publicUrl": "hooks.example.org"}, "publicUrl"),
        ({"existingSecret": "", "secrets": {"DATABASE_URL": "x"}}, "REDIS_URL"),
        ({"image": {"repository": ""}}, "repository"),
        ({"replicas": 3}, "replicas"),
        ({"worker": {"terminationGracePeriodSeconds": 10}}, "terminationGracePeriodSeconds"),
        ({"autoscaling": {"kind": "keda"}}, "prometheusUrl"),
        ({"settings": {"retention": 1}}, "retention"),
    ],
)
def test_wrong_values_are_refused_by_their_name(wrong: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({**LEAST, "existingSecret": "hookhub", **wrong}))

    command = [HELM, "template", "acme", CHART, "--kube-version", VERSIONS[0], "--values", tmp_path / "values.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert complaint in done.stderr


def test_the_printed_commands_for_kubernetes_are_accepted(tmp_path: Path) -> None:
    values, commands = blocks_below("docs/deployment.md", "## Kubernetes")[:2]
    (tmp_path / "values.yaml").write_text(values)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")

    [line] = [line for line in commands.splitlines() if line.startswith("helm upgrade --install")]
    run(
        "sh",
        "-c",
        line.replace("helm upgrade --install", f"{HELM} template --kube-version {VERSIONS[0]}"),
        cwd=tmp_path,
    )


def test_caddy_accepts_the_caddyfile() -> None:
    printed = run(CADDY, "validate", "--config", ROOT / "deploy" / "Caddyfile", "--adapter", "caddyfile", cwd=TOOLS)

    assert "Valid configuration" in printed
    assert run(CADDY, "fmt", ROOT / "deploy" / "Caddyfile") == (ROOT / "deploy" / "Caddyfile").read_text()
