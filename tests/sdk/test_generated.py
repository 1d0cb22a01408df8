"""What is generated for the SDKs is what `make sdk` would generate now."""

import inspect

from hookhub_client import AsyncClient, Client

from tests.sdk import unasync

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
