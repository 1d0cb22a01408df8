"""The signature checker: which part of a request it finds to differ, for each way of signing."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from deliveries.formats import FORMATS, Message
from deliveries.vault import Secret
from hookhub.portal import signature_check
from hookhub.portal.body_changes import difference
from hookhub.portal.signature_check import Known, check, read_headers
from hookhub.portal.snippets import OF_WEBSUB, SCHEMES, Scheme

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PAYLOAD = '{"a": 1, "é": "ü"}\n'.encode()
ALL = [*SCHEMES.items(), ("websub", OF_WEBSUB["sha1"]), ("websub", OF_WEBSUB["sha512"])]
VALID = ("good", "The signature is valid.")


def sent(
    slug: str, scheme: Scheme, *secrets: str, at: datetime = NOW, payload: bytes = PAYLOAD
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a request as HookHub sends it."""
    rendered = FORMATS[slug].render(
        Message(
            delivery_id="019cb8b8-1e00-753a-a23d-b63dc6d7ef09", attempt=1,
            event_id="019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f", event_type="push", payload=payload, occurred_at=at,
            sent_at=at, organization="acme", repository=None, webhook_id="019cb8b8-1e00-753a-8f00-000000000001",
            webhook_number=1, scope="organization", scope_number=1, content_type="json", secrets=secrets,
            subscription={"hub": "http://h/", "topic": "http://t/", "algorithm": scheme.algorithm},
        )
    )  # fmt: skip
    return {name.lower(): value for name, value in rendered.headers}, rendered.body


def found(
    headers: dict[str, str],
    body: bytes | str,
    scheme: Scheme,
    *,
    given: str = "",
    stored: tuple[Secret, ...] = (),
    recorded: bytes | None = None,
    now: datetime = NOW,
) -> list[tuple[str, str]]:
    text = body if isinstance(body, str) else body.decode()
    with translation.override("en"):
        findings = check(headers, text, scheme=scheme, known=Known(given, stored, recorded), now=now)
    return [(tone, text) for tone, text in findings if "ago, within" not in text]


@pytest.mark.parametrize(("slug", "scheme"), ALL)
def test_a_request_as_it_was_sent_is_valid(slug: str, scheme: Scheme) -> None:
    secret, other = (FORMATS[slug].make_secret() for _ in range(2))
    headers, body = sent(slug, scheme, secret)

    assert found(headers, body, scheme, given=secret) == [VALID]
    assert found(headers, body, scheme, stored=(Secret(secret),)) == [VALID]
    # A form sends each end of a line as CR LF.
    assert found(headers, body.replace(b"\n", b"\r\n"), scheme, given=secret) == [VALID]
    assert found(headers, body, scheme, given=other, stored=(Secret(secret),)) == [
        ("bad", "The secret that you entered is not the one that signed this request; the webhook's is.")
    ]
    assert found(headers, body, scheme, given=other, recorded=body) == [
        ("good", "The body is that of the delivery in the log."),
        ("bad", "The secret that you entered did not sign this request."),
    ]


@pytest.mark.parametrize(("slug", "scheme"), ALL)
def test_a_changed_body_is_told_from_a_wrong_secret(slug: str, scheme: Scheme) -> None:
    secret = FORMATS[slug].make_secret()
    headers, body = sent(slug, scheme, secret)
    changed = body.replace(b'"a": 1', b'"a": 2')
    place = changed.index(b'"a": 2') + len('"a": ') + 1

    where = f"it differs from byte {place} on; it has {len(body)} bytes, and {len(body)} were sent."
    assert found(headers, changed, scheme, given=secret, recorded=body) == [("bad", f"The body was changed: {where}")]
    assert found(headers, changed, scheme, given=FORMATS[slug].make_secret(), recorded=body)[1] == (
        "bad", "And the secret is another, or the headers are not those of this delivery.",
    )  # fmt: skip
    assert found(headers, changed, scheme, given=secret)[0] == (
        "bad", "The signature does not match: the body was changed after it was signed, or the secret is another.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "pasted", "how"),
    [
        (b'{"a":1}', '{"a":1}\n', "there is a line break at its end that was not sent."),
        (b'{"a":1}\n', '{"a":1}', "the line break at its end is missing."),
        (b'{"a":1}', '\ufeff{"a":1}', "there is a byte order mark at its beginning that was not sent."),
        (b'{"a":1}', '  {"a":1} ', "there are spaces around it that were not sent."),
        (b'{"a":1}', '{\n  "a": 1\n}', "the JSON was parsed and written anew, with other spaces."),
        (b'{"a": 1}', '{"a":1}', "the JSON was parsed and written anew, with other spaces."),
        ('{"a":"é"}'.encode(), '{"a":"\\u00e9"}', "the JSON was parsed and written anew, with other spaces."),
        (b'{"a":"\\u00e9"}', '{"a":"é"}', "the JSON was parsed and written anew, with other escapes."),
    ],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_usually_changes_a_body_is_recognized(payload: bytes, pasted: str, how: str, is_recorded: bool) -> None:
    scheme = SCHEMES["sigmagit"]
    secret = FORMATS["sigmagit"].make_secret()
    headers, body = sent("sigmagit", scheme, secret, payload=payload)

    [(tone, text)] = found(headers, pasted, scheme, given=secret, recorded=body if is_recorded else None)

    assert tone == "bad"
    assert text.startswith(f"The body was changed: {how}")


def test_the_json_of_a_form_is_recognized() -> None:
    scheme = SCHEMES["github"]
    headers, _ = sent("github", scheme, "sesame")
    form = b"payload=%7B%22a%22%3A+1%7D"
    headers["x-hub-signature-256"] = "sha256=" + signature_check.signature_of(
        headers, form, scheme=scheme, secret="sesame"
    )

    [(_, text)] = found(headers, '{"a": 1}', scheme, given="sesame")

    assert text.startswith("The body was changed: this is the JSON in the form's field payload.")


def test_during_a_rotation_the_secret_that_signed_is_named() -> None:
    scheme = SCHEMES["coregit"]
    new, old = Secret("new-secret"), Secret("old-secret", NOW + MINUTE)
    headers, body = sent("coregit", scheme, "old-secret")

    assert found(headers, body, scheme, stored=(new, old)) == [
        VALID,
        ("warning", "It is signed with a previous secret of the webhook, which is used until 2026-03-04 12:01:00 UTC."),
    ]
    [(tone, text)] = found(headers, body, scheme, stored=(new, old), now=NOW + 2 * MINUTE)[1:]
    assert tone == "bad"
    assert text.endswith("which has not been used since 2026-03-04 12:01:00 UTC.")
    standard, slug = SCHEMES["standard-webhooks"], "standard-webhooks"
    first, second = (FORMATS[slug].make_secret() for _ in range(2))
    both, body = sent(slug, standard, first, second)
    assert found(both, body, standard, given=second) == [VALID]


@pytest.mark.parametrize(
    ("slug", "now", "tone", "text"),
    [
        ("standard-webhooks", NOW + 6 * MINUTE, "warning", "It was signed 6 min ago, and receivers refuse what is"),
        ("code-storage", NOW + 60 * MINUTE, "warning", "It was signed 60 min ago, and receivers refuse what is"),
        ("standard-webhooks", NOW - 6 * MINUTE, "bad", "It was signed 6 min in the future: a clock is wrong"),
    ],
)
def test_the_age_is_compared_with_the_tolerance(slug: str, now: datetime, tone: str, text: str) -> None:
    scheme, secret = SCHEMES[slug], FORMATS[slug].make_secret()
    headers, body = sent(slug, scheme, secret)

    findings = found(headers, body, scheme, given=secret, now=now)

    assert findings[0] == VALID
    assert findings[1][0] == tone
    assert findings[1][1].startswith(text)


@pytest.mark.parametrize(
    ("slug", "change", "expected"),
    [
        ("standard-webhooks", {"webhook-id": ""}, "The header webhook-id is missing."),
        ("standard-webhooks", {"webhook-signature": ""}, "The header webhook-signature is missing."),
        ("standard-webhooks", {"webhook-signature": "v1,abc"}, "The header webhook-signature is malformed"),
        ("standard-webhooks", {"webhook-signature": "é"}, "The header webhook-signature is malformed"),
        ("standard-webhooks", {"webhook-timestamp": "soon"}, "The time in webhook-timestamp is no number"),
        ("standard-webhooks", {"webhook-timestamp": "9" * 40}, "The time in webhook-timestamp is no number"),
        ("github", {"x-hub-signature-256": "abc"}, "The header X-Hub-Signature-256 is malformed"),
        ("github", {"x-hub-signature-256": "sha256=" + "é" * 64}, "The header X-Hub-Signature-256 is malformed"),
        ("github", {"x-hub-signature-256": ""}, "The header X-Hub-Signature-256 is missing."),
        ("code-storage", {"x-pierre-signature": "t=now,sha256=" + "0" * 64}, "The time in X-Pierre-Signature is no"),
        ("code-storage", {"x-pierre-signature": "sha256"}, "The header X-Pierre-Signature is malformed"),
    ],
)
def test_a_header_that_is_missing_or_malformed_is_named(slug: str, change: dict[str, str], expected: str) -> None:
    scheme, secret = SCHEMES[slug], FORMATS[slug].make_secret()
    headers, body = sent(slug, scheme, secret)

    texts = [text for _, text in found({**headers, **change}, body, scheme, given=secret)]

    assert any(text.startswith(expected) for text in texts), texts
    assert "The signature is valid." not in texts


def test_a_request_of_another_format_is_recognized() -> None:
    headers, body = sent("github", SCHEMES["github"], "sesame")

    texts = [text for _, text in found(headers, body, SCHEMES["coregit"], given="sesame")]

    assert (
        "There is a header X-Hub-Signature-256 instead: the request is in another format than this webhook's." in texts
    )


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64", "sesame!", "é"])
def test_a_secret_without_the_form_of_one_is_named(secret: str) -> None:
    scheme = SCHEMES["standard-webhooks"]
    headers, body = sent("standard-webhooks", scheme, FORMATS["standard-webhooks"].make_secret())

    [(tone, text)] = found(headers, body, scheme, given=secret)

    assert (tone, text[:39]) == ("bad", "The secret has not the form of one: whs")


@pytest.mark.parametrize(
    "text",
    [
        "POST /hooks HTTP/1.1\nHost: x\nWebhook-ID: 7\nX-Empty:",
        "> POST / HTTP/1.1\r\n> webhook-id: 7\r\n> x-empty:\r\n",
        '{"Webhook-Id": 7, "X-Empty": ""}',
        '  "webhook-id": "7",\n  "x-empty": ""',
    ],
)
def test_headers_are_read_as_tools_print_them(text: str) -> None:
    headers = read_headers(text)

    assert (headers["webhook-id"], headers["x-empty"]) == ("7", "")


def test_a_difference_tells_nothing_of_what_was_sent() -> None:
    with translation.override("en"):
        text = difference(b'{"a": "mine"}', b'{"a": "a-private-value"}')

    assert text == "it differs from byte 8 on; it has 13 bytes, and 24 were sent."
