"""Each SDK publishes to, manages and receives from one HookHub, and what its README prints runs as printed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route

from deliveries.formats import FORMATS
from testbed.processes import free_port
from tests.acceptance.instances import running_instance
from tests.golden.messages import NEWEST, PUSH
from tests.partners import node
from tests.sdk import readmes, stories, tools, vectors
from tests.sdk.throttling import throttling

pytestmark = pytest.mark.acceptance

# Returns the names of the cases of which something else is said than in the vectors.
IN_A_BROWSER = """
async ({ format, cases }) => {
  const { verify, VerificationFailed } = await import("/verify.js");
  const wrong = [];
  for (const { name, body, headers, secrets, now, tolerance = 300, max_event_age: maxEventAge, ...expected } of cases) {
    const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
    const options = { format, secrets, tolerance, maxEventAge, now: new Date(now * 1000) };
    const outcome = await verify(bytes, headers, options).then(
      ({ type, id, timestamp: at, data }) => ({ event: { type, id, timestamp: at && at.toISOString(), data } }),
      (error) => ({ error: error instanceof VerificationFailed ? error.code : String(error) }),
    );
    if (JSON.stringify(outcome) !== JSON.stringify(expected)) wrong.push([name, outcome]);
  }
  return wrong;
}
"""
STORIES = Path(stories.__file__).parent
# Those of the first examples, which have ids of their own.
PUBLISHED = "SELECT count(*) FROM hookhub_event WHERE type = 'order.paid' AND idempotency_key NOT LIKE '%-order-%'"


def test_the_same_story_in_every_language(tmp_path: Path) -> None:
    commands = programs(tmp_path, url=f"http://127.0.0.1:{free_port()}/hooks")

    with running_instance() as instance, throttling(instance.url) as front:
        environment = {
            **os.environ, "HOOKHUB_URL": front.url, "HOOKHUB_API_KEY": instance.key, "NO_PROXY": "*",
            "PYTHONPATH": str(tools.installed_python()), "SIGNED": signed_now(),
        }  # fmt: skip
        running = {
            name: subprocess.Popen(
                command, env={**environment, "STORY": name}, cwd=tmp_path, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for name, command in commands.items()
        }  # fmt: skip
        ended = {name: (*process.communicate(timeout=180), process.returncode) for name, process in running.items()}
        published = instance.ask(PUBLISHED)

    assert {name: (said, status) for name, (_, said, status) in ended.items()} == dict.fromkeys(commands, ("", 0))
    told = {name: said for name, (said, _, _) in ended.items()}
    for name in [name for name in commands if name.startswith("readme-")]:
        assert PUSH.delivery_id in told.pop(name)
    examples = [name for name in commands if name.startswith("example-")]
    for name in examples:
        assert re.fullmatch(r"accepted [0-9a-f-]{36}\n", told.pop(name))
    assert published == len(examples)
    assert {name: json.loads(said) for name, said in told.items()} == {name: happened(name) for name in told}
    # The same event with the same id was sent again.
    assert {name: (len(bodies), len(set(bodies))) for name, bodies in front.bodies.items()} == dict.fromkeys(
        told, (2, 1)
    )


@pytest.mark.browser
def test_the_vectors_pass_in_a_browser(chrome: Browser) -> None:
    files = {f"/{path.name}": path.read_text() for path in (tools.typescript() / "dist").glob("*.js")}
    page = chrome.new_page()

    def serve(route: Route) -> None:
        path = urlsplit(route.request.url).path
        kind = "text/javascript" if path in files else "text/html"
        route.fulfill(body=files.get(path, "<!doctype html>"), content_type=kind)

    page.route("**/*", serve)
    page.goto("https://receiver.example/")
    for slug in vectors.SIGNATURES:
        assert page.evaluate(IN_A_BROWSER, {"format": slug, "cases": vectors.load(slug)}) == []
    page.close()


def happened(story: str) -> dict[str, object]:
    """Return what a story tells."""
    return {
        "replayed": [False, True],
        "received": [f"{story}.paid", {"id": 42}],
        "batch": 5,
        "delivered": 6,
        "is the delivery": True,
        "error": [422, "invalid", "events[0].type"],
        "throttled": f"{story}.paid",
        "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "polled": [{"id": 43}, [0]],
        "revoked": 401,
        "deleted": 404,
    }


def signed_now() -> str:
    """Return a request as HookHub sends it now, with its secret, as JSON."""
    rendered = FORMATS["standard-webhooks"].render(PUSH._replace(sent_at=datetime.now(UTC)))
    return json.dumps({"headers": dict(rendered.headers), "body": rendered.body.decode(), "secret": NEWEST})


def programs(folder: Path, *, url: str) -> dict[str, Sequence[str | Path]]:
    """Write and compile the stories, the examples and the READMEs, and return the command of each."""
    modules = folder / "node_modules" / "@hookhub"
    modules.mkdir(parents=True)
    (modules / "client").symlink_to(tools.typescript())
    (folder / "story.mjs").write_text((STORIES / "story.mjs").read_text())
    (folder / "example.mjs").write_text(tools.first_example(tools.TYPESCRIPT))
    (folder / "example.py").write_text(tools.first_example(tools.PYTHON))
    (folder / "readme.py").write_text(readmes.python(url=url, secret=NEWEST))
    for name, source in readmes.typescript(url=url).items():
        (folder / name).write_text(source)
    commands: dict[str, Sequence[str | Path]] = {
        "story-python": [sys.executable, STORIES / "story.py"],
        "story-python-async": [sys.executable, STORIES / "story_async.py"],
        "story-typescript": [node.node(), folder / "story.mjs"],
        "example-python": [sys.executable, folder / "example.py"],
        "example-typescript": [node.node(), folder / "example.mjs"],
        "readme-python": [sys.executable, folder / "readme.py"],
        "readme-typescript": [node.node(), folder / "readme.mjs"],
    }
    if tools.has_go():
        (folder / "go").mkdir()
        story, example = (STORIES / "story.go").read_text(), tools.first_example(tools.GO)
        compiled = tools.go_program(folder / "go", story=story, example=example, readme=readmes.go(url=url))
        commands |= {f"{name}-go": [compiled / name] for name in ("story", "example", "readme")}
    return commands
