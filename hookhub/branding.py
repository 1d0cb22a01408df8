"""How an organization's portal looks, and which origins may embed it: name, logo and accent color."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import transaction

from deliveries import audit, plain_text
from deliveries.db.lookups import find_one
from deliveries.models import Organization
from deliveries.webhooks.fields import InvalidFields
from hookhub.models import PortalSettings

MAX_ORIGINS = 20
MAX_NAME, MAX_ORIGIN = 80, 255
# The longest logo as a data: URL, in characters; every page carries it.
MAX_LOGO = 40_000
COLOR = re.compile(r"#[0-9a-fA-F]{6}")
LOGO = re.compile(r"data:image/(png|jpeg|webp|gif|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}")
# Pages of these hosts may embed without TLS: browsers keep a Secure cookie for them, too.
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Brand(NamedTuple):
    """What the frame of a page shows of an organization; ``style`` is the text of a style element."""

    product_name: str = ""
    logo: str = ""
    style: str = ""
    origins: tuple[str, ...] = ()


def brand_of(chosen: PortalSettings | None) -> Brand:
    """Return the brand of an organization's settings, HookHub's own if it has none."""
    if chosen is None:
        return Brand()
    style = style_of(chosen.accent_color) if chosen.accent_color else ""
    return Brand(chosen.product_name, chosen.logo, style, tuple(chosen.embed_origins))


def style_of(accent: str) -> str:
    """Return the rule that sets the accent color and the color of text on it."""
    return f":root{{--accent:{accent};--on-accent:{readable_on(accent)}}}"


def readable_on(color: str) -> str:
    """Return black or white, whichever is read better on a color; its contrast is at least 4.5 on any."""
    return "#000000" if 1.05 / (luminance(color) + 0.05) < (luminance(color) + 0.05) / 0.05 else "#ffffff"


def luminance(color: str) -> float:
    """Return the relative luminance of a color such as ``#1a2b3c``, 0 to 1, as WCAG 2.2 defines it."""
    parts = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def read_origin(text: str) -> str:
    """Return an origin in its one spelling, such as ``https://app.example:8443``; raise ValueError with the reason."""
    text = text.strip()
    # The parser leaves such characters out without a word.
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be an origin such as https://app.example")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be an origin such as https://app.example") from error
    host = (parts.netloc.rpartition(":")[0] if port is not None else parts.netloc).lower()
    if parts.scheme not in {"https", "http"} or not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", host):
        raise ValueError("must be an origin such as https://app.example")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("must be an origin, without a path")
    if parts.scheme == "http" and host not in LOCAL:
        raise ValueError("must begin with https://")
    usual = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, usual} else "")


def read_logo(text: str) -> str:
    """Return a logo as it was given; raise ValueError unless it is a short data: URL of an image."""
    if text and not LOGO.fullmatch(text):
        raise ValueError("must be a data: URL in base64 of a PNG, JPEG, WebP, GIF or SVG image")
    return text


def read_color(text: str) -> str:
    """Return a color in lower case; raise ValueError unless it is ``""`` or has the form ``#1a2b3c``."""
    if text and not COLOR.fullmatch(text):
        raise ValueError("must be a color such as #1a2b3c")
    return text.lower()


def read_name(text: str) -> str:
    """Return a product's name without blanks around it; raise ValueError with the reason if it cannot be one."""
    name = text.strip()
    if len(name) > MAX_NAME:
        raise ValueError(f"must be a text of up to {MAX_NAME} characters")
    if error := plain_text.error_in(name):
        raise ValueError(error)
    return name


def read_pasted_logo(text: str) -> str:
    """Return a logo without the line breaks that a long text may have; raise ValueError as ``read_logo`` does."""
    logo = "".join(text.split())
    if len(logo) > MAX_LOGO:
        raise ValueError(f"must be at most {MAX_LOGO} characters long; use a smaller image")
    return read_logo(logo)


def read_origins(texts: Iterable[str]) -> list[str]:
    """Return origins in their one spelling, each once; raise ValueError that names the first that is none."""
    origins = []
    for text in texts:
        try:
            origins.append(read_origin(text))
        except ValueError as error:
            raise ValueError(f"{error}: {text[:MAX_ORIGIN]}") from error
    found = list(dict.fromkeys(origins))
    if len(found) > MAX_ORIGINS or any(len(origin) > MAX_ORIGIN for origin in found):
        raise ValueError(f"must be at most {MAX_ORIGINS} origins of up to {MAX_ORIGIN} characters")
    return found


READERS: Mapping[str, Callable[[Any], object]] = {
    "product_name": read_name,
    "accent_color": lambda text: read_color(text.strip()),
    "logo": read_pasted_logo,
    "embed_origins": read_origins,
}


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a form as they are stored; raise InvalidFields with every invalid one."""
    found, errors = {}, {}
    for name, value in fields.items():
        try:
            found[name] = READERS[name](value)
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise InvalidFields(errors)
    return found


def change(organization: Organization, fields: Mapping[str, Any], *, now: datetime) -> PortalSettings:
    """Set fields of an organization's portal settings, and record the change."""
    with transaction.atomic():
        # The organization is locked, because its settings may have no row yet.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        found = find_one(PortalSettings.objects.filter(organization=organization))
        changed = found or PortalSettings(organization=organization)
        before = changed.as_state()
        for name, value in fields.items():
            setattr(changed, name, value)
        changed.save()
        audit.record_update(
            "portal_settings.updated", target=changed.as_target(), before=before, after=changed.as_state(), now=now
        )
    return changed
