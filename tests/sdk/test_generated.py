"""What is generated for the SDKs is what `make sdk` would generate now."""

import inspect
from pathlib import Path

import pytest
from hookhub_client import AsyncClient, Client

from tests.sdk import document, go_types, tools, types, unasync

STALE = "sdk/ is not what `make sdk` generates now; run it, and commit what it writes"


def test_the_synchronous_python_client_is_the_asynchronous_one() -> None:
    written = {name: (unasync.PACKAGE / "client" / name).read_text() for name in unasync.files()}

    assert written == unasync.files(), STALE


def test_both_python_clients_have_the_same_methods_with_the_same_arguments() -> None:
    with Client("http://127.0.0.1:1", "hh_1") as client:
        asynchronous = AsyncClient("http://127.0.0.1:1", "hh_1")

        assert {name: described(part) for name, part in vars(client).items()} == {
            name: described(part) for name, part in vars(asynchronous).items()
        } | {"_transport": described(client._transport)}
        assert described(client) == described(asynchronous)


def described(part: object) -> dict[str, list[str]]:
    """Return the public methods of an object, with the names of their arguments."""
    found = inspect.getmembers(part, inspect.ismethod)
    return {name: list(inspect.signature(method).parameters) for name, method in found if not name.startswith("_")}


def test_the_document_is_that_of_todays_api() -> None:
    assert document.PATH.read_text() == document.text(), STALE


def test_the_types_of_typescript_are_those_of_the_document(tmp_path: Path) -> None:
    assert types.typescript(tmp_path / "api.ts") == (tools.TYPESCRIPT / "src" / "api.ts").read_text(), STALE
    assert types.schemas() == (tools.TYPESCRIPT / "src" / "schemas.ts").read_text(), STALE


def test_the_types_of_go_are_those_of_the_document() -> None:
    assert types.go() == go_types.PATH.read_text(), STALE


@pytest.mark.parametrize("sdk", [tools.PYTHON, tools.TYPESCRIPT, tools.GO], ids=lambda path: path.name)
def test_the_quick_start_of_the_documentation_is_that_of_the_readme(sdk: Path) -> None:
    assert tools.first_example(sdk) in (tools.ROOT / "docs" / "sdks.md").read_text()
