"""Campfire's settings, which name a room instead of a URL: subdomain, room and token."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from deliveries import vault
from deliveries.formats import MASK
from deliveries.models import Webhook
from hookhub.dialects.social_gateway import credentials
from hookhub.dialects.social_gateway.errors import ValidationFailed, invalid, missing

SLUG = "campfire"
SETTINGS = ("subdomain", "room", "token")
RULES = {
    "subdomain": (
        re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"),
        "must be a subdomain of campfirenow.com",
    ),
    "room": (re.compile(r"[^\0-\x1f\x7f\ud800-\udfff]{1,100}"), "must be the number or the name of a room"),
    "token": (re.compile(r"[\x21-\x39\x3b-\x7e]{1,200}"), "must be 1 to 200 visible ASCII characters without a colon"),
}
PLACE = re.compile(r"https://(?P<subdomain>[a-z0-9-]+)\.campfirenow\.com/room/(?P<room>[^/?]+)/speak\.json")


def shown(webhook: Webhook) -> dict[str, str]:
    """Return a hook's settings with the token masked; if it does not lead to a room, its URL instead."""
    token = {"token": MASK} if credentials.HEADER in vault.headers_to_show(webhook) else {}
    # A room's URL has no query, so none of it is masked.
    found = PLACE.fullmatch(webhook.shown_url)
    if found is None:
        return {"url": webhook.shown_url, **token}
    return {"subdomain": found["subdomain"], "room": unquote(found["room"]), **token}


def fields_of(given: Mapping[str, Any], *, before: Webhook | None, is_whole: bool) -> dict[str, object]:
    """Convert the settings to the engine's fields; raise ValidationFailed.

    A masked token keeps the stored one. That is an error if the subdomain changes, because a token belongs to one
    person at one subdomain; a different room of the same subdomain keeps it.
    """
    there = {} if before is None else shown(before)
    if not is_whole:
        given = {**there, **given}
    errors = [missing(name) for name in SETTINGS if name not in given]
    for name in set(SETTINGS) & given.keys():
        rule, sentence = RULES[name]
        if not isinstance(given[name], str) or not rule.fullmatch(given[name]):
            errors.append(invalid(name, sentence))
    stays = given.get("token") == MASK
    moves = str(given.get("subdomain")).lower() != there.get("subdomain")
    if stays and (moves or "token" not in there):
        errors.append(invalid("token", "is masked; send the token itself"))
    if errors:
        raise ValidationFailed(*errors)
    url = f"https://{given['subdomain']}.campfirenow.com/room/{quote(given['room'], safe='')}/speak.json"
    if stays:
        return {"url": url, **_kept_token(before)}
    # Campfire ignores the password.
    return {"url": url, "headers": {credentials.HEADER: credentials.as_header(f"{quote(given['token'])}:X")}}


def _kept_token(webhook: Webhook | None) -> dict[str, object]:
    """Return the stored token's header, because a changed URL removes the headers that are not sent along."""
    stored = {} if webhook is None else vault.headers_of(webhook)
    return {"headers": {name: value for name, value in stored.items() if name == credentials.HEADER}}
