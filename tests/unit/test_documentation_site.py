"""The site at /docs/: files of the build and nothing else, with a policy that allows the theme's own scripts only."""

from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import resolve

from hookhub.http import documentation
from tests.pages import breaches

PAGE = "<html><script>var theme = 1</script><script src='../assets/bundle.js'></script><p>Tutorial</p></html>"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    built = tmp_path / "docs"
    (built / "tutorial").mkdir(parents=True)
    (built / "index.html").write_text("<html>Home</html>")
    (built / "tutorial" / "index.html").write_text(PAGE)
    (built / "search.json").write_text("{}")
    (tmp_path / "secret_key").write_text("secret")
    monkeypatch.setattr(documentation, "SITE", built)
    return built


def get(path: str) -> HttpResponse:
    return documentation.documentation(RequestFactory().get(f"/docs{path}"), path)


def test_a_folder_is_its_index_page(site: Path) -> None:
    assert get("/").content == b"<html>Home</html>"
    assert get("/tutorial/").content == PAGE.encode()
    assert get("/tutorial/").headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_folder_without_a_slash_redirects_so_that_relative_links_hold(site: Path) -> None:
    assert (get("/tutorial").status_code, get("/tutorial").headers["Location"]) == (302, "/docs/tutorial/")
    assert (get("").status_code, get("").headers["Location"]) == (302, "/docs/")


def test_a_file_has_its_media_type(site: Path) -> None:
    assert get("/search.json").headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "path", ["/../secret_key", "/tutorial/../../secret_key", "//etc/passwd", "/missing/", "/a\0b", "/search.json/"]
)
def test_nothing_but_the_site_is_served(site: Path, path: str) -> None:
    assert get(path).status_code == 404


def test_the_policy_allows_the_pages_own_scripts_and_no_other(site: Path) -> None:
    policy = get("/tutorial/").headers["Content-Security-Policy"]

    assert breaches(PAGE, policy) == []
    assert breaches("<script>stolen()</script>", policy) != []
    assert "unsafe-inline" not in get("/search.json").headers["Content-Security-Policy"].split("style-src")[0]


def test_without_a_build_the_page_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(documentation, "SITE", tmp_path / "nothing")

    answer = get("/")
    assert (answer.status_code, answer.content.decode()) == (404, documentation.MISSING)


def test_it_is_served_in_development_and_only_read() -> None:
    assert resolve("/docs/tutorial/").func is documentation.documentation
    assert documentation.documentation(RequestFactory().post("/docs/"), "/").status_code == 405
