"""Clients generated from the OpenAPI document compile and work, and linters find no fault in the document."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Event, Webhook
from tests.partners import generators, node
from tests.partners.generators import GENERATED, GO, NPM, OPENAPI_GENERATOR_JAR, PYTHON, run
from tests.partners.live import Live

pytestmark = [pytest.mark.generated, pytest.mark.django_db(transaction=True)]

RECEIVER = "http://127.0.0.1:9009/hook"
# The generator does not support NDJSON; it generates the JSON form of these operations.
PYTHON_SKIPS = ["POST /v1/events", "POST /v1/events/validate"]


@pytest.fixture
def live(live_server: LiveServer) -> Live:
    return Live.make(live_server.url)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a folder with the served document as openapi.json."""
    (tmp_path / "openapi.json").write_bytes(Client().get("/v1/openapi.json").content)
    return tmp_path


def operations(work: Path, *, within: str = "paths") -> set[str]:
    """Return the operationIds of the document, of what HookHub serves or of its ``webhooks``."""
    paths = json.loads((work / "openapi.json").read_text())[within]
    return {said["operationId"] for methods in paths.values() for said in methods.values() if "operationId" in said}


def plain(names: list[str] | set[str]) -> set[str]:
    """Return names without the case and the separators of a programming language."""
    return {name.replace("_", "").lower() for name in names}


def assert_worked(answer: Any, live: Live) -> None:
    """Assert that the webhook, the list and the event that a round trip reports match what is stored."""
    webhook = Webhook.objects.get()
    event = Event.objects.get(type="push")
    assert answer == {"created": str(webhook.uid), "listed": [str(webhook.uid)], "event": str(event.pk)}
    assert (webhook.url, webhook.organization) == (RECEIVER, live.organization)
    assert event.repository == live.repository


def test_openapi_python_client_generates_every_operation_and_its_client_works(work: Path, live: Live) -> None:
    tool = PYTHON / "bin" / "openapi-python-client"
    path = f"{PYTHON / 'bin'}:/usr/bin:/bin"
    said = run(
        tool,
        "generate",
        "--path",
        "openapi.json",
        "--meta",
        "none",
        "--output-path",
        "generated",
        cwd=work,
        complaints=True,
        PATH=path,
        COLUMNS="200",
    )

    assert re.findall(r"WARNING parsing (\S+ \S+)", said) == PYTHON_SKIPS
    assert said.count("Unsupported content type application/x-ndjson") == said.count("WARNING parsing")
    made = {file.stem for file in (work / "generated" / "api").glob("*/*.py")} - {"__init__"}
    assert plain(made) == plain(operations(work))
    shutil.copy(GENERATED / "round_trip.py", work)
    run(PYTHON / "bin" / "python", "-m", "compileall", "-q", "generated", cwd=work)
    assert_worked(
        json.loads(run(PYTHON / "bin" / "python", "round_trip.py", live.url, live.key, RECEIVER, cwd=work)), live
    )


def test_openapi_typescript_generates_every_operation_and_its_types_check_and_work(work: Path, live: Live) -> None:
    (work / "node_modules").symlink_to(NPM / "node_modules")
    (work / "package.json").write_text('{"type": "module"}')
    shutil.copy(GENERATED / "round_trip.ts", work)
    modules = Path("node_modules")
    # What a request may leave out is not required because it has a default.
    how = ("openapi.json", "-o", "generated.ts", "--default-non-nullable=false")
    run(node.node(), modules / "openapi-typescript/bin/cli.js", *how, cwd=work)
    compiled = (
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--skipLibCheck",
        "--lib",
        "es2022,dom,dom.iterable",
    )
    run(node.node(), modules / "typescript/bin/tsc", *compiled, "round_trip.ts", cwd=work)

    made = re.findall(
        r"^    (\w+): \{$", (work / "generated.ts").read_text().partition("interface operations")[2], re.MULTILINE
    )
    assert set(made) == operations(work) | operations(work, within="webhooks")
    assert_worked(json.loads(run(node.node(), "round_trip.js", live.url, live.key, RECEIVER, cwd=work)), live)


def test_oapi_codegen_generates_every_operation_and_its_client_compiles_and_works(work: Path, live: Live) -> None:
    (work / "generated").mkdir()
    for name, copy in {"round_trip.go": "main.go", "go.mod": "go.mod", "go.sum": "go.sum"}.items():
        shutil.copy(GENERATED / name, work / copy)
    # Without skip-prune, it drops the schemas that only `webhooks` refer to, and not what refers to them.
    what = ("-generate", "types,client,skip-prune", "-package", "generated", "-o", "generated/generated.go")
    run(GO / "oapi-codegen", *what, "openapi.json", cwd=work)
    run("go", "build", "-o", "round_trip", ".", cwd=work)

    source = (work / "generated" / "generated.go").read_text()
    made = re.findall(r"^func \(c \*ClientWithResponses\) (\w+?)(?:With\w*Body)?WithResponse\(", source, re.MULTILINE)
    assert plain(made) == plain(operations(work))
    assert_worked(json.loads(run(work / "round_trip", live.url, live.key, RECEIVER, cwd=work)), live)


def test_openapi_generator_generates_every_operation_for_java_and_its_client_compiles_and_works(
    work: Path, live: Live
) -> None:
    only = "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"
    how = ("-i", "openapi.json", "-g", "java", "-o", "client", "--global-property", only)
    said = run("java", "-jar", OPENAPI_GENERATOR_JAR, "generate", *how, cwd=work)
    maven = ("mvn", "-q", "-B", "-Dmaven.test.skip=true", "compile", "dependency:build-classpath")
    run(*maven, "-Dmdep.outputFile=classpath", cwd=work / "client")
    classpath = f".:client/target/classes:{(work / 'client' / 'classpath').read_text()}"
    run("javac", "-d", ".", "-cp", classpath, GENERATED / "RoundTrip.java", cwd=work)

    assert "ERROR" not in said
    apis = [file.read_text() for file in work.glob("client/src/main/java/org/openapitools/client/api/*.java")]
    made = {
        name for source in apis for name in re.findall(r"^    public \S+ (\w+)WithHttpInfo\(", source, re.MULTILINE)
    }
    made |= {name for source in apis for name in re.findall(r"ApiResponse<.+> (\w+)WithHttpInfo\(", source)}
    assert plain(made) == plain(operations(work) | operations(work, within="webhooks"))
    assert_worked(json.loads(run("java", "-cp", classpath, "RoundTrip", live.url, live.key, RECEIVER, cwd=work)), live)


def test_redocly_finds_no_error_and_nothing_to_warn_of(work: Path) -> None:
    tool = NPM / "node_modules/@redocly/cli/bin/cli.js"
    said = run(node.node(), tool, "lint", "openapi.json", "--format=json", cwd=work, REDOCLY_TELEMETRY="off")
    assert json.loads(said)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}


def test_spectral_finds_no_error_and_nothing_to_warn_of(work: Path) -> None:
    tool = NPM / "node_modules/@stoplight/spectral-cli/dist/index.js"
    run(node.node(), tool, "lint", "-r", GENERATED / "spectral.yaml", "--fail-severity=warn", "openapi.json", cwd=work)


def test_what_the_generators_need_is_on_this_machine() -> None:
    assert generators.missing() == []
