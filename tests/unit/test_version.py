"""The version is written once, and shown wherever HookHub names itself."""

import ast
import re
import tomllib

from deliveries.formats import FORMATS
from deliveries.version import USER_AGENT, VERSION
from hookhub.procfile import ROOT
from tests.golden.messages import PUSH


def test_packaging_tools_take_the_version_from_the_code() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" not in settings["project"]
    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "deliveries.version.VERSION"}


def test_the_version_is_a_literal_that_tools_read_without_an_import() -> None:
    module = ast.parse((ROOT / "deliveries" / "version.py").read_text())
    [written] = [
        node.value for node in module.body if isinstance(node, ast.Assign) and "VERSION" in ast.dump(node.targets[0])
    ]

    assert ast.literal_eval(written) == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_changelog_begins_with_the_version() -> None:
    [newest, *_] = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest == VERSION


def test_receivers_see_the_version_unless_the_format_imitates_another_sender() -> None:
    agents = {slug: dict(wire_format.render(PUSH).headers)["User-Agent"] for slug, wire_format in FORMATS.items()}
    own = {slug for slug, agent in agents.items() if agent == USER_AGENT}

    assert own == {
        "standard-webhooks", "slack", "discord", "campfire", "websub", "cloudevents", "cloudevents-binary", "mcp-event",
    }  # fmt: skip
    assert not [agent for slug, agent in agents.items() if slug not in own and agent.startswith("HookHub/")]
