"""Every wire format: one contract for the whole registry, golden bytes, and signatures verified independently."""

import ast
import base64
import hashlib
import hmac
import importlib
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, unquote_to_bytes

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from deliveries import formats
from deliveries.formats import DEFAULT, FORMATS, Format, Message, Rendered, SecretPolicy, github_family
from deliveries.formats.base import stamp
from deliveries.formats.coregit import Coregit
from deliveries.formats.discord import escape as escape_for_discord
from deliveries.formats.standard_webhooks import StandardWebhooks, key_of
from deliveries.webhooks.fields import CONNECTION_HEADERS, HEADER_NAME, HEADER_VALUE
from tests.golden.messages import HERE, MESSAGES, NEWEST, OLDER, PUSH, as_golden, golden_of, messages_for

every_format = pytest.mark.parametrize("wire_format", FORMATS.values(), ids=FORMATS)
every_signing_format = pytest.mark.parametrize(
    "wire_format", [one for one in FORMATS.values() if one.secret_policy.allows_secret], ids=lambda one: one.slug
)
every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
every_case = pytest.mark.parametrize(
    ("wire_format", "name", "message"),
    [
        pytest.param(wire_format, name, message, id=f"{wire_format.slug}-{name}")
        for wire_format in FORMATS.values()
        for name, message in messages_for(wire_format).items()
    ],
)


# The contract --------------------------------------------------------------------------------------------------------


@every_format
def test_the_registry_names_a_format_as_it_names_itself(wire_format: Format) -> None:
    assert FORMATS[wire_format.slug] is wire_format
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", wire_format.slug)
    assert len(wire_format.slug) <= 40
    assert type(wire_format).__module__ == f"deliveries.formats.{wire_format.slug.replace('-', '_')}"
    assert (wire_format.slug, wire_format.title) in formats.choices()


@pytest.mark.parametrize(
    ("policy", "allows_secret", "allows_none"),
    [(SecretPolicy.REQUIRED, True, False), (SecretPolicy.OPTIONAL, True, True), (SecretPolicy.NONE, False, True)],
)
def test_a_secret_policy_allows_a_secret_or_none_or_both(
    policy: SecretPolicy, *, allows_secret: bool, allows_none: bool
) -> None:
    assert (policy.allows_secret, policy.allows_none) == (allows_secret, allows_none)


def test_the_default_exists() -> None:
    assert DEFAULT in FORMATS


def test_the_five_systems_and_those_beside_them_are_there() -> None:
    assert FORMATS.keys() >= {
        "standard-webhooks", "coregit", "code-storage", "sigmagit", "social-gateway", "github", "codmir", "slack",
        "discord", "campfire",
    }  # fmt: skip


@every_case
def test_a_message_becomes_the_golden_bytes(wire_format: Format, name: str, message: Message) -> None:
    golden = golden_of(wire_format.slug, name)

    assert golden.exists(), f"write the folder with: python -m tests.golden.messages {wire_format.slug}"
    assert as_golden(wire_format.render(message)) == golden.read_bytes()


def test_every_golden_file_belongs_to_a_message_and_a_format() -> None:
    found = set(HERE.rglob("*.http"))

    assert found == {golden_of(slug, name) for slug in FORMATS for name in messages_for(FORMATS[slug])}


@every_case
def test_rendering_twice_gives_the_same_bytes(wire_format: Format, name: str, message: Message) -> None:
    assert wire_format.render(message) == wire_format.render(message._replace())


@every_case
def test_headers_are_safe_on_the_wire_and_exactly_those_the_format_claims(
    wire_format: Format, name: str, message: Message
) -> None:
    rendered = wire_format.render(message)

    for header, value in rendered.headers:
        assert HEADER_NAME.fullmatch(header)
        assert HEADER_VALUE.fullmatch(value)
    names = [header.lower() for header, _ in rendered.headers]
    assert len(names) == len(set(names))
    # Without a secret nothing is signed; all other headers are always sent.
    left_out = {"x-hub-signature", "x-hub-signature-256"} if not message.secrets else set()
    assert set(names) == wire_format.reserved_headers - left_out
    assert not set(names) & CONNECTION_HEADERS
    assert wire_format.reserved_headers == {header.lower() for header in wire_format.reserved_headers}
    assert {"content-type", "user-agent"} <= set(names)
    media_type = OWN_MEDIA_TYPES.get(wire_format.slug, MEDIA_TYPES[message.content_type])
    assert dict(rendered.headers)["Content-Type"] == media_type


OWN_MEDIA_TYPES = {"cloudevents": "application/cloudevents+json"}
MEDIA_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


def data_in(wire_format: Format, body: bytes) -> bytes | None:
    """Return the publisher's bytes that the body contains by the format's rules; None for formats that render text."""
    if wire_format.slug in {"slack", "discord", "campfire"}:
        return None
    if wire_format.slug in {"standard-webhooks", "coregit", "codmir", "cloudevents"}:
        opening, data = body.split(b'"data":', 1)
        json.loads(opening.removesuffix(b",") + b"}")
        return data[:-1]
    if wire_format.slug == "mcp-event":
        data = body.split(b'"data":', 1)[1].removesuffix(b',"cursor":null}')
        # What is sent in place of a long event.
        return None if data.startswith(b'{"summary":') else data
    if body.startswith(b"payload="):
        return unquote_to_bytes(body.removeprefix(b"payload=").replace(b"+", b" "))
    return body


@every_case
def test_the_body_holds_the_payload_byte_for_byte_or_tells_of_it(
    wire_format: Format, name: str, message: Message
) -> None:
    body = wire_format.render(message).body

    assert isinstance(body, bytes)
    data = data_in(wire_format, body)
    if data is None:
        assert isinstance(json.loads(body), dict)
    else:
        assert data == message.payload
        if message.content_type == "json":
            json.loads(body)


@every_signing_format
def test_neither_headers_nor_body_hold_a_secret(wire_format: Format) -> None:
    wire = as_golden(wire_format.render(PUSH._replace(secrets=(NEWEST, OLDER))))

    for secret in (NEWEST, OLDER):
        assert secret.encode() not in wire
        assert secret.removeprefix("whsec_").encode() not in wire


SIGNED_AFRESH = {
    "standard-webhooks": {"webhook-timestamp", "webhook-signature"},
    "code-storage": {"X-Pierre-Signature"},
    "mcp-event": {"webhook-timestamp", "webhook-signature"},
    "cloudevents": {"webhook-timestamp", "webhook-signature"},
    "cloudevents-binary": {"webhook-timestamp", "webhook-signature"},
}


@every_format
def test_a_retry_changes_nothing_but_what_depends_on_the_time_of_sending(wire_format: Format) -> None:
    first = wire_format.render(PUSH)
    again = wire_format.render(PUSH._replace(attempt=2, sent_at=PUSH.sent_at + timedelta(hours=6)))

    assert again.body == first.body
    changed = {name for (name, value), (_, other) in zip(first.headers, again.headers, strict=True) if value != other}
    assert changed == SIGNED_AFRESH.get(wire_format.slug, set())


@every_format
@pytest.mark.parametrize("event_type", ["_", "-.-", "A-b_c.9", "x" * 200])
def test_every_type_there_can_be_is_carried(wire_format: Format, event_type: str) -> None:
    if wire_format.slug == "websub":
        # A subscriber knows the type by its topic.
        return
    rendered = wire_format.render(PUSH._replace(event_type=event_type, payload=b"{}"))

    told = [event_type, github_family.family_of(event_type)] if "form" in wire_format.content_types else [event_type]
    if wire_format.slug == "discord":
        told = [escape_for_discord(event_type)]
    wire = b"\n".join([rendered.body, *(value.encode() for _, value in rendered.headers)]).decode()
    assert any(word in wire.replace("\\\\", "\\") for word in told)


@every_signing_format
def test_a_new_secret_is_long_unlike_the_last_and_without_fault(wire_format: Format) -> None:
    made = {wire_format.make_secret() for _ in range(100)}

    assert len(made) == 100
    if wire_format.slug == "sigmagit":
        assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in made)
    else:
        assert all(len(secret) >= 38 and secret.startswith("whsec_") for secret in made)
    assert {wire_format.secret_error(secret) for secret in made} == {None}
    assert wire_format.render(PUSH._replace(secrets=tuple(made))).body


@every_signing_format
@pytest.mark.parametrize("secret", ["", "\0" * 30, "a\r\nb" * 9, "\ud800" * 30, "x" * 256, " \n" * 10])
def test_a_bad_secret_is_refused_in_words(wire_format: Format, secret: str) -> None:
    fault = wire_format.secret_error(secret)

    assert isinstance(fault, str)
    assert len(fault) > 5


@every_signing_format
def test_a_short_secret_is_refused_except_where_receivers_have_always_had_them(wire_format: Format) -> None:
    for secret in ("x", "short"):
        assert (wire_format.secret_error(secret) is None) is (
            wire_format.slug in {"social-gateway", "github", "websub"}
        )


@every_signing_format
def test_a_secret_without_fault_signs(wire_format: Format) -> None:
    for secret in (NEWEST, OLDER, "whsec_" + base64.b64encode(b"k" * 64).decode(), "a plain secret", "schlüssel 🎉"):
        if wire_format.secret_error(secret) is None:
            assert wire_format.render(PUSH._replace(secrets=(secret,)))


@every_format
def test_its_verdicts_and_its_policy_are_within_bounds(wire_format: Format) -> None:
    verdicts = {wire_format.verdict_on(status, body) for status in range(1000) for body in (b"", b"ok", b"\xff" * 9)}
    assert verdicts <= {None, "delivered", "retry", "reject", "gone"}
    policy = wire_format.policy
    assert policy.timeout is None or timedelta(seconds=1) <= policy.timeout <= timedelta(seconds=30)
    assert policy.retry_schedule is None or all(step > timedelta(0) for step in policy.retry_schedule)
    assert wire_format.content_types
    assert set(wire_format.content_types) <= set(MEDIA_TYPES)


@every_format
def test_a_format_without_signatures_keeps_its_url_to_itself(wire_format: Format) -> None:
    url = "https://hooks.example:8443/services/T0/B0/s3cret?token=x"

    # Campfire's URL only identifies a room; a token in a header authorizes posting.
    assert wire_format.url_is_secret is (not wire_format.secret_policy.allows_secret and wire_format.slug != "campfire")
    shown = "https://hooks.example:8443/services/T0/B0/s3cret?token=********"
    assert wire_format.show_url(url) == ("https://hooks.example:8443/********" if wire_format.url_is_secret else shown)


@pytest.mark.parametrize("path", sorted(Path(formats.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_a_format_is_a_small_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 120


PURE = sorted(Path(formats.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    "path",
    [*PURE, *(Path(formats.__file__).parents[1] / name for name in ("signing.py", "compact_json.py"))],
    ids=lambda path: path.name,
)
def test_formats_import_neither_django_nor_the_network_nor_the_clock_nor_the_engine(path: Path) -> None:
    allowed = {
        "abc", "base64", "binascii", "dataclasses", "hashlib", "hmac", "json", "secrets", "typing", "urllib.parse",
        "collections.abc", "datetime", "enum", "functools", "re",
    }  # fmt: skip
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))

    ours = {
        name
        for name in imported
        if name in {"deliveries.signing", "deliveries.compact_json", "deliveries.version"}
        or name.startswith("deliveries.formats")
    }
    assert imported - ours <= allowed
    # A pure function uses `datetime` for its types only, not to read the time.
    assert not re.search(r"\.(now|utcnow|today)\(", path.read_text())


# Times ---------------------------------------------------------------------------------------------------------------

STAMPS = {
    "to the second": (datetime(2026, 3, 4, 12, 0, 0, 999999, tzinfo=UTC), False, "2026-03-04T12:00:00Z"),
    "to the millisecond": (datetime(2026, 3, 4, 12, 0, 0, 999999, tzinfo=UTC), True, "2026-03-04T12:00:00.999Z"),
    "on the second": (datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC), True, "2026-03-04T12:00:00.000Z"),
    "east of Greenwich": (
        datetime(2026, 3, 4, 1, 30, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))), False, "2026-03-03T20:00:00Z",
    ),
    "zone of no offset": (
        datetime(2026, 3, 4, 12, 0, 0, tzinfo=timezone(timedelta(0), "Z")), False, "2026-03-04T12:00:00Z",
    ),
    "year 1": (datetime(1, 1, 1, tzinfo=UTC), True, "0001-01-01T00:00:00.000Z"),
}  # fmt: skip


@pytest.mark.parametrize(("moment", "milliseconds", "text"), STAMPS.values(), ids=STAMPS)
def test_times_are_written_in_utc_with_a_z(moment: datetime, text: str, *, milliseconds: bool) -> None:
    assert stamp(moment, milliseconds=milliseconds) == text


# Standard Webhooks, verified by its own library and by hand ----------------------------------------------------------


def standard(message: Message) -> Rendered:
    return StandardWebhooks().render(message)


@every_message
def test_the_standards_own_library_accepts_every_message_with_every_live_secret(message: Message) -> None:
    rendered = standard(message)

    with freeze_time(message.sent_at):
        for secret in message.secrets:
            data = Verifier(secret).verify(rendered.body, dict(rendered.headers))
            assert data["type"] == message.event_type


@pytest.mark.parametrize("part", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
def test_the_standards_own_library_notices_every_change(part: str) -> None:
    rendered = standard(PUSH)
    headers, body = dict(rendered.headers), rendered.body
    if part == "body":
        body = body.replace(b"main", b"evil")
    elif part == "webhook-timestamp":
        headers[part] = str(int(headers[part]) + 1)
    else:
        headers[part] = headers[part][:-6] + "AAAAA="

    with freeze_time(PUSH.sent_at), pytest.raises(WebhookVerificationError):
        Verifier(NEWEST).verify(body, headers)


def test_the_standards_own_library_refuses_a_secret_that_does_not_sign() -> None:
    rendered = standard(PUSH)

    with freeze_time(PUSH.sent_at), pytest.raises(WebhookVerificationError):
        Verifier(OLDER).verify(rendered.body, dict(rendered.headers))


@every_message
def test_standard_webhooks_signs_id_time_and_body_newest_secret_first(message: Message) -> None:
    rendered = standard(message)

    headers = dict(rendered.headers)
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), rendered.body])
    expected = [
        "v1," + base64.b64encode(hmac.new(base64.b64decode(secret[6:]), content, hashlib.sha256).digest()).decode()
        for secret in message.secrets
    ]
    assert headers["webhook-signature"].split(" ") == expected
    assert headers["webhook-id"] == message.delivery_id
    assert int(headers["webhook-timestamp"]) == int(message.sent_at.timestamp())


SECRET_SIZES = {23: False, 24: True, 32: True, 64: True, 65: False}


@pytest.mark.parametrize(("size", "is_good"), SECRET_SIZES.items())
def test_a_standard_secret_has_24_to_64_bytes(size: int, *, is_good: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * size).decode()

    assert (StandardWebhooks().secret_error(secret) is None) is is_good


@pytest.mark.parametrize("secret", ["whsec_*", "whsec_ü", "whsec_AAA", "whsec_A-_A", "whsec_" + "A" * 32 + "\n"])
def test_what_is_not_base64_is_no_key(secret: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        key_of(secret)


# Coregit, verified by hand -------------------------------------------------------------------------------------------


@every_message
def test_coregit_signs_the_raw_body_with_the_text_of_the_newest_secret(message: Message) -> None:
    rendered = Coregit().render(message)

    headers = dict(rendered.headers)
    digest = hmac.new(message.secrets[0].encode(), rendered.body, hashlib.sha256).hexdigest()
    assert headers["X-CoreGit-Signature"] == f"sha256={digest}"
    assert headers["X-CoreGit-Event"] == message.event_type
    assert headers["X-CoreGit-Webhook-Id"] == message.webhook_id
    assert headers["User-Agent"] == "CoreGit-Webhook/1.0"
    envelope = json.loads(rendered.body)
    assert list(envelope) == ["event", "timestamp", "org_id", "data"]
    assert (envelope["event"], envelope["org_id"]) == (message.event_type, message.organization)
    assert re.fullmatch(r"2026-03-04T12:00:00\.\d{3}Z", envelope["timestamp"])


# The others, verified by hand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["social-gateway", "github"])
def test_githubs_own_example_is_signed_as_github_signs_it(slug: str) -> None:
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    message = PUSH._replace(
        payload=b"Hello, World!", secrets=("It's a Secret to Everybody", NEWEST), content_type="json"
    )

    headers = dict(FORMATS[slug].render(message).headers)

    assert headers["X-Hub-Signature-256"] == ("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
    # printf 'Hello, World!' | openssl dgst -sha1 -hmac "It's a Secret to Everybody"
    assert headers["X-Hub-Signature"] == "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"


@pytest.mark.parametrize("slug", ["social-gateway", "github"])
def test_a_form_is_signed_as_it_is_sent(slug: str) -> None:
    rendered = FORMATS[slug].render(MESSAGES["sigmagit-issue"]._replace(content_type="form"))

    digest = hmac.new(NEWEST.encode(), rendered.body, hashlib.sha256).hexdigest()
    assert dict(rendered.headers)["X-Hub-Signature-256"] == f"sha256={digest}"
    assert rendered.body.startswith(b"payload=%7B%22action%22%3A%22opened%22")
    assert parse_qs(rendered.body.decode(), strict_parsing=True) == {
        "payload": [MESSAGES["sigmagit-issue"].payload.decode()]
    }


FAMILIES = {
    "issues.opened": "issues",
    "push": "push",
    "pull_request.merged": "pull_request",
    "repo.sync.failed": "repo",
}


@pytest.mark.parametrize(("event_type", "family"), FAMILIES.items())
def test_githubs_header_has_the_family_and_sigmagits_the_whole_type(event_type: str, family: str) -> None:
    message = PUSH._replace(event_type=event_type)

    told = {slug: dict(FORMATS[slug].render(message).headers) for slug in ("social-gateway", "github", "sigmagit")}

    assert told["social-gateway"]["X-SocialGateway-Event"] == family
    assert told["github"]["X-GitHub-Event"] == family
    assert told["sigmagit"]["X-Sigmagit-Event"] == event_type


def test_code_storage_signs_the_time_and_the_body_with_no_blank_between_its_parts() -> None:
    header = dict(FORMATS["code-storage"].render(PUSH).headers)["X-Pierre-Signature"]

    found = re.fullmatch(r"t=(\d+),sha256=([0-9a-f]{64})", header)
    assert found is not None
    assert int(found[1]) == int(PUSH.sent_at.timestamp())
    signed = f"{found[1]}.".encode() + PUSH.payload
    assert found[2] == hmac.new(NEWEST.encode(), signed, hashlib.sha256).hexdigest()


def test_codmir_has_the_events_id_and_whole_seconds() -> None:
    envelope = json.loads(FORMATS["codmir"].render(PUSH).body)

    assert envelope == {
        "id": "evt_019cb8b81e00753a8f000a1b2c3d4e5f",
        "type": "push",
        "timestamp": "2026-03-04T12:00:00Z",
        "data": {"ref": "refs/heads/main"},
    }
    assert list(envelope) == ["id", "type", "timestamp", "data"]


M, H = timedelta(minutes=1), timedelta(hours=1)
POLICIES = {
    "coregit": (timedelta(seconds=10), (), False),
    "sigmagit": (timedelta(seconds=30), (M, 5 * M, 30 * M, 2 * H, 6 * H), True),
    **dict.fromkeys(
        ("standard-webhooks", "code-storage", "social-gateway", "github", "codmir", "slack", "discord"),
        (None, None, True),
    ),
}


@pytest.mark.parametrize(("slug", "policy"), POLICIES.items(), ids=POLICIES)
def test_a_format_promises_what_its_document_does(slug: str, policy: tuple[object, ...]) -> None:
    promised = FORMATS[slug].policy

    assert (promised.timeout, promised.retry_schedule, promised.auto_disable) == policy


@given(st.binary(max_size=200))
def test_a_forms_value_is_encoded_as_others_encode_it(value: bytes) -> None:
    assert github_family.encode_value(value) == quote_plus(value).encode()


def test_every_byte_survives_a_form() -> None:
    every = bytes(range(256))

    assert github_family.encode_value(every) == quote_plus(every).encode()
    assert unquote_to_bytes(github_family.encode_value(every).replace(b"+", b" ")) == every


def test_the_registry_can_be_imported_on_its_own() -> None:
    assert importlib.import_module("deliveries.formats").FORMATS
