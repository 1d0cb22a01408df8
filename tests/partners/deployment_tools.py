"""The programs and schemas that check what is in deploy/, and their installation from registries."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

# Not tracked by Git; kept so that a second run finds what the first installed.
TOOLS = Path(__file__).parents[2] / ".hookhub" / "deployment"
HELM, CADDY = TOOLS / "helm", TOOLS / "caddy"
VALIDATE = TOOLS / "python" / "bin" / "kubernetes-validate"
PROGRAMS = {
    HELM: "helm.sh/helm/v3/cmd/helm@v3.19.0",
    CADDY: "github.com/caddyserver/caddy/v2/cmd/caddy@v2.10.2",
}
KUBERNETES_VALIDATE = "kubernetes-validate==1.37.0"
# The Go modules that hold the schemas of kinds which are not Kubernetes' own.
CUSTOM = {
    "keda.sh/v1alpha1 ScaledObject": (
        "github.com/kedacore/keda/v2@v2.17.2",
        "config/crd/bases/keda.sh_scaledobjects.yaml",
    ),
    "monitoring.coreos.com/v1 ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}


def run(*command: str | Path, cwd: Path = TOOLS, may_fail: bool = False) -> str:
    """Run a program and return its output with standard error; fail with all of it unless it ``may_fail``."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert may_fail or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def install() -> None:
    """Install what is not there yet; Helm and Caddy take some minutes to build."""
    assert shutil.which("go"), "not on this machine: Go 1.26"
    TOOLS.mkdir(parents=True, exist_ok=True)
    for path, source in PROGRAMS.items():
        if not path.exists():
            run("env", f"GOBIN={TOOLS}", "go", "install", source)
    if not VALIDATE.exists():
        run(sys.executable, "-m", "venv", "--without-pip", TOOLS / "python")
        pip = (sys.executable, "-m", "pip", "--python", TOOLS / "python" / "bin" / "python")
        run(*pip, "install", "--quiet", "--disable-pip-version-check", KUBERNETES_VALIDATE)
    for kind, (module, path) in CUSTOM.items():
        if not schema_file(kind).exists():
            folder = json.loads(run("go", "mod", "download", "-json", module))["Dir"]
            shutil.copyfile(Path(folder, path), schema_file(kind))


def schema_file(kind: str) -> Path:
    """Return where the definition of a kind is kept."""
    return TOOLS / CUSTOM[kind][1].rpartition("/")[2]


if __name__ == "__main__":
    install()
