"""`/llms.txt` lists every page of the documentation, and each is served as Markdown, without a build of the site."""

import re
from pathlib import Path

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from hookhub.descriptions import documents
from hookhub.http.documentation import PAGES, twin_of
from hookhub.procfile import ROOT

PUBLIC = "https://hooks.example/under"
LINE = re.compile(r"^- \[([^]]+)\]\(([^)]+)\)(?:: (.+))?$", re.MULTILINE)


@pytest.fixture
def listed(settings: Settings) -> str:
    settings.HOOKHUB_PUBLIC_URL = PUBLIC
    answer = Client().get("/llms.txt")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    return answer.content.decode()


def test_it_begins_as_llmstxt_org_has_it(listed: str) -> None:
    assert re.match(r"# HookHub\n\n> HookHub takes events", listed)
    assert [line for line in listed.splitlines() if line.startswith("- ") and not LINE.fullmatch(line)] == []


def test_every_page_has_one_line_that_leads_to_it(listed: str) -> None:
    pages = {f"{PUBLIC}/docs/{path.relative_to(PAGES)}" for path in PAGES.rglob("*.md")}
    links = [link for _, link, _ in LINE.findall(listed) if link.startswith(f"{PUBLIC}/docs/")]

    assert sorted(links) == sorted(pages)
    for link in links:
        answer = Client().get(link.removeprefix(PUBLIC))
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
        assert answer.content.startswith(b"# ")


def test_every_page_but_a_decision_says_in_a_line_what_it_is_about(listed: str) -> None:
    assert [link for _, link, text in LINE.findall(listed) if not text and "/decisions/" not in link] == []
    assert [text for _, _, text in LINE.findall(listed) if text and not text.endswith(".")] == []


def test_the_descriptions_of_the_api_are_there(listed: str) -> None:
    for address in ("/v1/openapi.json", "/v1/asyncapi.json", "/v1/schemas.json"):
        assert f"({PUBLIC}{address})" in listed


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["nowhere.md", "../README.md", "%2e%2e/README.md", "..%2fREADME.md", "llms.txt.md", "a%00.md", "/etc/x.md"]
)
def test_nothing_else_is_served(path: str) -> None:
    assert Client().get(f"/docs/{path}").status_code == 404


def test_a_page_is_only_read() -> None:
    assert Client().post("/docs/index.md").status_code == 405
    assert Client().head("/docs/index.md").status_code == 200


def test_without_the_pages_it_says_so_and_lists_the_descriptions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(documents, "PAGES", tmp_path / "nothing")
    documents.names.cache_clear()
    try:
        text = Client().get("/llms.txt").content.decode()
        answer = Client().get("/docs/index.md")
    finally:
        documents.names.cache_clear()

    assert "without the documentation's pages" in text
    assert "/v1/openapi.json" in text
    assert "/docs/" not in text
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("path", "twin"),
    [
        ("/", "/docs/index.md"), ("/index.html", "/docs/index.md"), ("/tutorial/", "/docs/tutorial.md"),
        ("/tutorial/index.html", "/docs/tutorial.md"), ("/decisions/", "/docs/decisions/index.md"),
        ("/dialects/coregit/", "/docs/dialects/coregit.md"),
    ],
)  # fmt: skip
def test_each_page_of_the_site_names_its_markdown(path: str, twin: str) -> None:
    assert twin_of(RequestFactory().get(f"/docs{path}"), path) == twin
    assert (ROOT / twin[1:]).is_file()
