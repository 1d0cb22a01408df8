"""Converts a hook's `config` to the engine's fields, and back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from django.conf import settings

from deliveries import vault
from deliveries.formats import MASK, SecretPolicy, format_of
from deliveries.models import Webhook
from deliveries.webhooks.changing import requests_other_receiver
from deliveries.webhooks.masks import SEND_THE_SECRET
from hookhub.dialects.social_gateway import campfire, credentials
from hookhub.dialects.social_gateway.errors import ValidationFailed, invalid, missing

Row = dict[str, str]

# Returned as strings, whatever type was sent.
TRUE, FALSE = "1", "0"
FLAGS: dict[object, bool] = {"1": True, "0": False}
MASKED_BUT_MOVED = "is masked, but the URL changed; send the secret itself"
REQUIRED_TO_MOVE = "is required because the URL changes"
UNREADABLE = "cannot be decrypted, and the URL changes; send a new secret"


def shown(webhook: Webhook) -> dict[str, str]:
    """Return a hook's config with secrets masked, and with booleans as "1" and "0"."""
    if webhook.format == campfire.SLUG and not webhook.is_polled:
        return campfire.shown(webhook)
    found = {
        "url": credentials.shown(webhook.shown_url, vault.headers_to_show(webhook)),
        "content_type": webhook.content_type,
        "insecure_ssl": FALSE if webhook.verify_ssl else TRUE,
    }
    return {**found, "secret": MASK} if vault.has_secret(webhook) else found


def fields_of(
    config: object, *, wire_format: str, before: Webhook | None = None, is_whole: bool = True
) -> dict[str, object]:
    """Convert a config to the engine's fields; raise ValidationFailed.

    ``before`` is the webhook that is being changed. Unless ``is_whole``, only the settings that are present change.
    """
    if not isinstance(config, Mapping):
        raise ValidationFailed(invalid("config", "must be an object"))
    given = {name: value for name, value in config.items() if value is not None}
    # Nothing is sent to the room of a polling webhook, so it has none.
    if wire_format == campfire.SLUG and not (before is not None and before.is_polled):
        return campfire.fields_of(given, before=before, is_whole=is_whole)
    errors: list[Row] = []
    fields = {
        **_place(given, before=before, is_whole=is_whole, errors=errors),
        **_content_type(given, wire_format=wire_format, is_whole=is_whole, errors=errors),
        **_insecure_ssl(given, is_whole=is_whole, errors=errors),
    }
    fields |= _secret(given, fields, wire_format=wire_format, before=before, is_whole=is_whole, errors=errors)
    if errors:
        raise ValidationFailed(*errors)
    return fields


def _place(given: Mapping[str, Any], *, before: Webhook | None, is_whole: bool, errors: list[Row]) -> dict[str, object]:
    """Return the URL, and the custom headers with its user name and password among them; append any errors."""
    if "url" not in given:
        errors += [missing("url")] if is_whole else []
        return {}
    if not isinstance(given["url"], str):
        errors.append(invalid("url", "must be a string"))
        return {}
    url, userinfo = credentials.split(given["url"])
    headers = vault.headers_to_show(before) if before else {}
    kept = headers.pop(credentials.HEADER, None)
    if kept is not None and not credentials.is_of_a_url(kept):
        headers[credentials.HEADER] = kept
    is_moved = before is not None and is_other_receiver(url, before)
    if userinfo is not None and MASK in unquote(userinfo).split(":"):
        if userinfo != MASK or kept is None or is_moved:
            errors.append(invalid("url", "contains a masked user name or password; send the real ones"))
        # Without ``headers`` the stored ones are kept.
        return {"url": url}
    if is_moved:
        headers = {}
    if userinfo is not None:
        try:
            headers[credentials.HEADER] = credentials.as_header(userinfo)
        except ValueError as error:
            errors.append(invalid("url", str(error)))
    return {"url": url, "headers": headers}


def is_other_receiver(url: str, before: Webhook) -> bool:
    """Return whether a URL leads to a different receiver; not so the masked URL, and one that will be rejected."""
    return url != before.shown_url and requests_other_receiver(url, before)


def _content_type(
    given: Mapping[str, Any], *, wire_format: str, is_whole: bool, errors: list[Row]
) -> dict[str, object]:
    possible = format_of(wire_format).content_types
    if "content_type" not in given:
        # The first one is what clients of this format expect by default; clients of GitHub expect a form.
        return {"content_type": possible[0]} if is_whole else {}
    if given["content_type"] not in possible:
        errors.append(invalid("content_type", f"must be one of: {', '.join(possible)}"))
    return {"content_type": given["content_type"]}


def _insecure_ssl(given: Mapping[str, Any], *, is_whole: bool, errors: list[Row]) -> dict[str, object]:
    if "insecure_ssl" not in given:
        return {"verify_ssl": True} if is_whole else {}
    value = given["insecure_ssl"]
    # True equals 1 in Python, and clients send either.
    is_plain = isinstance(value, str | int)
    is_insecure = FLAGS.get(str(int(value)) if value in {True, False} else value) if is_plain else None
    if is_insecure is None:
        errors.append(invalid("insecure_ssl", f'must be "{FALSE}" or "{TRUE}"'))
    elif is_insecure and settings.HOOKHUB_REQUIRE_TLS_VERIFICATION:
        rule = "HOOKHUB_REQUIRE_TLS_VERIFICATION is enabled"
        errors.append(invalid("insecure_ssl", f'must be "{FALSE}": {rule}'))
    return {"verify_ssl": not is_insecure}


def _secret(
    given: Mapping[str, Any],
    fields: Mapping[str, object],
    *,
    wire_format: str,
    before: Webhook | None,
    is_whole: bool,
    errors: list[Row],
) -> dict[str, object]:
    """Return the secret, empty for none, or no field if the stored secret is kept; append any errors."""
    is_moved = before is not None and "url" in fields and is_other_receiver(str(fields["url"]), before)
    is_masked = given.get("secret") == MASK
    policy = format_of(wire_format).secret_policy
    if is_masked or ("secret" not in given and not is_whole):
        if error := _kept_secret_error(before, is_masked=is_masked, is_moved=is_moved):
            errors.append(invalid("secret", error))
        return {}
    if "secret" in given or policy is SecretPolicy.OPTIONAL:
        return {"secret": given.get("secret", "")}
    if policy is SecretPolicy.REQUIRED and is_moved:
        errors.append(missing("secret"))
    return {}


def _kept_secret_error(before: Webhook | None, *, is_masked: bool, is_moved: bool) -> str | None:
    """Return why the stored secret cannot be kept, or None if it can, or if there is none and none is asked for."""
    try:
        has_secret = before is not None and bool(vault.secrets_of(before))
    except vault.Unreadable:
        return UNREADABLE if is_moved else None
    if not has_secret:
        return SEND_THE_SECRET if is_masked else None
    if not is_moved:
        return None
    return MASKED_BUT_MOVED if is_masked else REQUIRED_TO_MOVE
