"""Checks what an HTML page loads and runs against its Content-Security-Policy."""

from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from urllib.parse import urlsplit

# For each element and attribute, the directive that governs loading from or sending to the URL in it.
LOADED_BY = {
    ("script", "src"): "script-src", ("img", "src"): "img-src", ("input", "src"): "img-src",
    ("iframe", "src"): "frame-src", ("embed", "src"): "object-src", ("object", "data"): "object-src",
    ("video", "src"): "media-src", ("audio", "src"): "media-src", ("source", "src"): "media-src",
    ("form", "action"): "form-action", ("button", "formaction"): "form-action", ("input", "formaction"): "form-action",
    ("base", "href"): "base-uri",
}  # fmt: skip
LINKS = {"stylesheet": "style-src", "icon": "img-src", "preload": "script-src", "manifest": "manifest-src"}
FOLLOWED = {"href", "src", "action", "formaction", "data"}
# A data block: browsers do not execute it.
DATA = {"application/json", "application/ld+json", "text/template", "text/html"}
# These directives do not fall back to default-src.
WITHOUT_FALLBACK = {"form-action", "base-uri", "frame-ancestors"}


def read_policy(header: str) -> dict[str, list[str]]:
    """Return the sources of a policy by directive."""
    parts = [part.split() for part in header.split(";") if part.strip()]
    return {name: sources for name, *sources in parts}


class Page(HTMLParser):
    """Records every violation of a policy in a page served from ``origin``."""

    def __init__(self, policy: dict[str, list[str]], *, origin: str) -> None:
        super().__init__(convert_charrefs=True)
        self.policy, self.origin = policy, origin
        self.breaches: list[str] = []
        self._inline: tuple[str, list[str]] | None = None

    def sources(self, *directives: str) -> list[str]:
        """Return the sources of the first of these directives that the policy has."""
        for directive in directives:
            if directive in self.policy:
                return self.policy[directive]
        return [] if directives[0] in WITHOUT_FALLBACK else self.policy.get("default-src", ["*"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        for name, value in attributes.items():
            self._look_at_attribute(tag, name, value)
        if tag == "link":
            for rel in LINKS.keys() & attributes.get("rel", "").lower().split():
                self.require_origin(attributes.get("href", ""), LINKS[rel])
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            self.breaches.append("<meta http-equiv=refresh>")
        is_script = tag == "script" and "src" not in attributes and attributes.get("type", "").lower() not in DATA
        if is_script or tag == "style":
            self._inline = (tag, [])

    def _look_at_attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on"):
            self.require_inline(value, "script-src-attr", "script-src", what=f"<{tag} {name}>")
        if name == "style":
            self.require_inline(value, "style-src-attr", "style-src", what=f"<{tag} style>")
        if name in FOLLOWED and value.strip().lower().startswith("javascript:"):
            self.breaches.append(f"<{tag} {name}> runs {value!r}")
        elif (tag, name) in LOADED_BY:
            self.require_origin(value, LOADED_BY[tag, name])

    def handle_data(self, data: str) -> None:
        if self._inline is not None:
            self._inline[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._inline is not None and self._inline[0] == tag:
            content = "".join(self._inline[1])
            self._inline = None
            self.require_inline(content, f"{tag}-src-elem", f"{tag}-src", what=f"<{tag}>")

    def require_inline(self, content: str, *directives: str, what: str) -> None:
        """Record inline content that the policy allows neither generally nor by its hash."""
        sources = self.sources(*directives)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        is_element = directives[0].endswith("-elem")
        by_hash = f"'sha256-{digest}'" in sources and (is_element or "'unsafe-hashes'" in sources)
        if "'unsafe-inline'" not in sources and not by_hash:
            self.breaches.append(f"{what} {directives[0]}: {content[:80]!r}")

    def require_origin(self, address: str, directive: str) -> None:
        """Record a URL that the page loads or sends to, and that the policy does not list."""
        parts = urlsplit(address.strip())
        sources = self.sources(directive)
        if parts.scheme == "data":
            is_allowed = "data:" in sources
        else:
            is_own = not parts.netloc or f"{parts.scheme or 'http'}://{parts.netloc}" == self.origin
            is_allowed = is_own and "'self'" in sources
        if not is_allowed:
            self.breaches.append(f"{directive}: {address[:100]!r}")


def breaches(content: str, policy: str, *, origin: str = "http://testserver") -> list[str]:
    """Return the violations of a policy in a page."""
    page = Page(read_policy(policy), origin=origin)
    page.feed(content)
    page.close()
    return page.breaches
