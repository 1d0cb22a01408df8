"""`/llms.txt` and the documentation's pages as Markdown, for agents; they need no build of the site."""

import re
from functools import cache

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hookhub.http.documentation import PAGES
from hookhub.http.links import path_of

# The list of pages, which lies among them; it links them relatively.
LIST = "llms.txt"
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
DECISION = re.compile(r"^- \d+: (\[.+\]\(.+\.md\))$", re.MULTILINE)
API = """## Descriptions of the API

- [OpenAPI 3.1]({url}/v1/openapi.json): every operation, with its errors and examples, and what receivers get.
- [AsyncAPI 3]({url}/v1/asyncapi.json): every event type as the message that a receiver gets.
- [JSON Schemas]({url}/v1/schemas.json): the data of every event type.
- [MCP]({url}/mcp): a server of the Model Context Protocol, for agents that subscribe to events.
"""
WITHOUT_PAGES = """# HookHub

> HookHub takes events from programs and delivers them to webhooks: signed, retried for hours, with a log of every
> attempt.

This deployment was installed without the documentation's pages: the folder docs/ of the checkout is not there.
"""


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """Respond with what HookHub is, its descriptions, and the pages of its documentation with a line for each."""
    del request
    parts = [listed() or WITHOUT_PAGES, API.format(url=base()), decisions()]
    return HttpResponse("\n".join(filter(None, parts)), content_type="text/plain; charset=utf-8")


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """Respond with a page of the documentation as Markdown; raise Http404 if there is none of this name."""
    del request
    if f"{name}.md" not in names():
        raise Http404
    return HttpResponse((PAGES / f"{name}.md").read_bytes(), content_type="text/markdown; charset=utf-8")


@cache
def names() -> frozenset[str]:
    """Return the names of all pages, as in ``dialects/coregit.md``."""
    return frozenset(str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md"))


def listed() -> str:
    """Return the list of the pages with absolute links; an empty text if there are none."""
    return absolute((PAGES / LIST).read_text(), below="") if names() else ""


def decisions() -> str:
    """Return the list of the decisions, which are worth reading only after all else; an empty text without pages."""
    if not names():
        return ""
    found = DECISION.findall((PAGES / "decisions" / "index.md").read_text())
    return absolute("## Optional\n\n" + "".join(f"- {link}\n" for link in found), below="decisions/")


def base() -> str:
    """Return what links begin with: the public URL, or the path that a project serves HookHub under."""
    return settings.HOOKHUB_PUBLIC_URL or path_of("")


def absolute(text: str, *, below: str) -> str:
    """Return a page's text with absolute links; ``below`` is the folder that they are relative to."""
    return LINK.sub(lambda found: f"]({base()}/docs/{below}{found[1]})", text)
