"""The documentation's site at /docs/, served in development from where `make docs` builds it."""

import re
from base64 import b64encode
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_safe

from hookhub.http.security_headers import POLICY, written
from hookhub.procfile import ROOT

# A link to the folder of the checkout; the wheel has its Markdown.
PAGES = Path(__file__).parent.parent / "docs"
SITE = ROOT / "build" / "docs"
MISSING = "The documentation has not been built. Run `make docs` and reload this page.\n"
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@require_safe
def documentation(request: HttpRequest, path: str) -> HttpResponse:
    """Respond with a file of the site; ``path`` is what follows "/docs"."""
    file = file_of(path)
    if file is None or not SITE.is_dir():
        return HttpResponse(MISSING if not SITE.is_dir() else "Not found\n", status=404, content_type="text/plain")
    if file.is_dir():
        return HttpResponseRedirect(f"{request.path}/")
    content = file.read_bytes()
    media_type = guess_type(file.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    answer = HttpResponse(content, content_type=f"{media_type}{charset}")
    if file.name == "index.html":
        # The same page as Markdown, for agents.
        answer.headers["Link"] = f'<{twin_of(request, path)}>; rel="alternate"; type="text/markdown"'
    answer.headers["Content-Security-Policy"] = policy_of(content if media_type == "text/html" else b"")
    return answer


def twin_of(request: HttpRequest, path: str) -> str:
    """Return the URL path of a page of the site as Markdown."""
    name = path.removesuffix("index.html").strip("/")
    is_folder = not (PAGES / f"{name}.md").is_file()
    return f"{request.path.removesuffix(path)}/{f'{name}/index'.strip('/') if is_folder else name}.md"


def file_of(path: str) -> Path | None:
    """Return the file or folder of the site at a URL path, or None if there is none inside the site."""
    if "\0" in path:
        return None
    file = SITE / path[1:]
    if path.endswith("/"):
        file /= "index.html"
    file = file.resolve()
    return file if file.is_relative_to(SITE) and file.exists() else None


def policy_of(page: bytes) -> str:
    """Return a Content-Security-Policy that allows exactly the inline scripts of the page, which the theme writes."""
    hashes = [f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in INLINE_SCRIPT.findall(page)]
    return written({**POLICY, "script-src": " ".join(["'self'", *hashes]), "style-src": "'self' 'unsafe-inline'"})
