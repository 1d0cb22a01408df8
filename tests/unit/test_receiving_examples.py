"""The examples of docs/receiving.md, executed: each framework's own test client sends them what HookHub sends."""

import asyncio
import re
import textwrap
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.test import RequestFactory
from freezegun import freeze_time

from deliveries.formats import FORMATS
from hookhub.procfile import ROOT
from hookhub.receiving import FORMATS as VERIFIABLE
from hookhub.receiving import Received, VerificationFailed
from tests.golden.messages import MESSAGES, NEWEST, OLDER, PUSH

PAGE = (ROOT / "docs" / "receiving.md").read_text()

# Sends a body and headers to an example, and returns the status.
Send = Callable[[bytes, dict[str, str]], int]


def example(heading: str, monkeypatch: pytest.MonkeyPatch, *, wire_format: str) -> dict[str, Any]:
    """Run the code under a heading with its format replaced, and return what it defines."""
    [code] = re.findall(rf"^### {heading}\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    monkeypatch.setenv("WEBHOOK_SECRETS", f"{NEWEST} {OLDER}")
    assert code.count('FORMAT = "standard-webhooks"') == 1
    code = code.replace('FORMAT = "standard-webhooks"', f'FORMAT = "{wire_format}"')
    defined: dict[str, Any] = {"__name__": f"example_{heading.lower()}"}
    exec(compile(code, f"docs/receiving.md, {heading}", "exec"), defined)
    return defined


def flask(defined: dict[str, Any]) -> Send:
    client = defined["app"].test_client()
    return lambda body, headers: client.post("/hooks", data=body, headers=headers).status_code


def django(defined: dict[str, Any]) -> Send:
    def send(body: bytes, headers: dict[str, str]) -> int:
        media_type = headers.get("Content-Type", "application/json")
        request = RequestFactory().generic("POST", "/hooks", body, content_type=media_type, headers=headers)
        return int(defined["receive"](request).status_code)

    return send


def fastapi(defined: dict[str, Any]) -> Send:
    async def post(body: bytes, headers: dict[str, str]) -> int:
        transport = httpx.ASGITransport(app=defined["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver.example") as client:
            return (await client.post("/hooks", content=body, headers=headers)).status_code

    return lambda body, headers: asyncio.run(post(body, headers))


SENDERS = {"Flask": flask, "Django": django, "FastAPI": fastapi}


@pytest.mark.parametrize("slug", VERIFIABLE)
@pytest.mark.parametrize("framework", SENDERS)
def test_an_example_takes_what_is_signed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, framework: str, slug: str
) -> None:
    defined = example(framework, monkeypatch, wire_format=slug)
    send = SENDERS[framework](defined)
    wire_format = FORMATS[slug]
    message = MESSAGES["sigmagit-issue"]._replace(content_type=wire_format.content_types[0])
    rendered = wire_format.render(message)

    with freeze_time(PUSH.sent_at, ignore=["asyncio"]):
        accepted = send(rendered.body, dict(rendered.headers))
        changed = send(rendered.body + b" ", dict(rendered.headers))
        unsigned = send(rendered.body, {"Content-Type": "application/json"})

    assert (accepted, changed, unsigned) == (204, 401, 401)
    received: Received = defined["jobs"].get_nowait()
    assert defined["jobs"].empty()
    assert received.type in {"issues.opened", "issues"} or (received.type, slug) == ("", "websub")
    assert received.data["issue"]["title"].endswith("🎉")


def example_of(heading: str) -> str:
    [code] = re.findall(rf"^## {heading}\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    return str(code)


def as_function(code: str, *names: str) -> Callable[..., Any]:
    defined: dict[str, Any] = {}
    source = f"def example({', '.join(names)}):\n{textwrap.indent(code, '    ')}"
    exec(compile(source, "docs/receiving.md", "exec"), defined)
    return defined["example"]  # type: ignore[no-any-return]


def test_the_shortest_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shortest = as_function(example_of("Verify").replace("whsec_…", NEWEST), "request")
    rendered = FORMATS["standard-webhooks"].render(PUSH)

    class Request:
        body, headers = rendered.body, dict(rendered.headers)

    with freeze_time(PUSH.sent_at):
        shortest(Request)
        assert capsys.readouterr().out == f"push {PUSH.delivery_id} {{'ref': 'refs/heads/main'}}\n"
        Request.body += b" "
        assert shortest(Request)[0] == 401


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "refused"),
    [("192.0.2.1", "", None), ("198.51.100.1", "192.0.2.1", 403), ("10.1.1.1", "192.0.2.1", None)],
)
def test_the_example_for_addresses_runs(peer: str, forwarded_for: str, refused: int | None) -> None:
    check = as_function(example_of("Where requests come from"), "peer", "forwarded_for")

    assert check(peer, forwarded_for) == refused


def test_every_format_has_its_part_of_the_page() -> None:
    for slug in FORMATS:
        assert re.search(rf"^### .*`{slug}`", PAGE, re.MULTILINE), slug
        assert re.search(rf"^\| .*`{slug}`", PAGE, re.MULTILINE), slug


def test_the_failure_has_a_name_that_the_page_tells() -> None:
    assert VerificationFailed.__name__ in PAGE
