"""The documents and the code agree."""

import re
from pathlib import Path

from hookhub.dialects import DIALECTS
from hookhub.procfile import ROOT, commands

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_is_explained_and_none_that_is_not_there() -> None:
    settings = (ROOT / "config" / "settings.py").read_text() + (
        ROOT / "hookhub" / "embedded" / "servers.py"
    ).read_text()
    read = set(
        re.findall(r'"((?:HOOKHUB_[A-Z_]+)|DATABASE_URL|REDIS_URL)"|\'(HOOKHUB_STATEMENT_TIMEOUT_MS)\'', settings)
    )
    names = {name for pair in read for name in pair if name}
    table = OPERATIONS[OPERATIONS.index("## Settings") : OPERATIONS.index("## Commands")]
    explained = set(re.findall(r"`((?:HOOKHUB_[A-Z_]+)|DATABASE_URL|REDIS_URL)`", table))

    assert names == explained


def test_every_command_is_listed() -> None:
    files = [*ROOT.glob("deliveries/management/commands/*.py"), *ROOT.glob("hookhub/management/commands/*.py")]

    for file in files:
        if file.stem != "__init__":
            assert f"`{file.stem}" in OPERATIONS, file.stem


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_compose_file_starts_what_the_procfile_names() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    started = set(re.findall(r'"manage.py", "run", "(\w+)"', compose))

    assert started == set(commands())
    assert Path(ROOT / "docs" / "example.env").exists()


def test_every_test_that_the_table_of_compatibility_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "compatibility.md").read_text())

    assert len(named) >= 5
    for file, test in named:
        assert (ROOT / file).is_file(), file
        if test:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_dialect_has_a_row_in_the_table_of_compatibility() -> None:
    rows = [line for line in (ROOT / "docs" / "compatibility.md").read_text().splitlines() if line.startswith("| [")]
    linked = {found[1] for line in rows if (found := re.match(r"\| \[[^]]+\]\(dialects/([a-z-]+)\.md\)", line))}

    assert linked >= set(DIALECTS)
    # A column for the system, and six others.
    assert {line.count("|") for line in rows} == {8}


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")]

    assert sorted(listed) == sorted(pages)
