"""Makes sdk/vectors/*.json: requests as HookHub's own formats sign them, and what ``verify`` of every SDK says of each.

What ``verify`` returns is written here by hand, and not by any of the SDKs.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deliveries.formats import FORMATS, Message, standard_webhooks
from deliveries.signing import hex_digest
from deliveries.version import USER_AGENT
from hookhub.procfile import ROOT
from tests.golden.messages import MESSAGES, NEWEST, OLDER, OLDEST, PUSH, VERSIONLESS

FOLDER = ROOT / "sdk" / "vectors"
Headers = list[tuple[str, str]]
Case = dict[str, Any]

SENT = PUSH.sent_at
# The formats that sign, and their header for it.
SIGNATURES = {
    "standard-webhooks": "webhook-signature",
    "cloudevents": "webhook-signature",
    "cloudevents-binary": "webhook-signature",
    "mcp-event": "webhook-signature",
    "coregit": "X-CoreGit-Signature",
    "codmir": "X-Codmir-Signature",
    "code-storage": "X-Pierre-Signature",
    "sigmagit": "X-Sigmagit-Signature",
    "social-gateway": "X-Hub-Signature-256",
    "github": "X-Hub-Signature-256",
    "websub": "X-Hub-Signature",
}
STANDARD = [slug for slug, header in SIGNATURES.items() if header == "webhook-signature"]
# Those that sign the time of the request, and those that sign the time of the event.
TIMED = [*STANDARD, "code-storage"]
DATED = ["coregit", "codmir"]
FAMILY = ["social-gateway", "github"]
# Where the event's type is an unsigned header.
TYPED_BY = {
    "cloudevents-binary": "ce-type",
    "code-storage": "X-Pierre-Event",
    "sigmagit": "X-Sigmagit-Event",
    "social-gateway": "X-SocialGateway-Event",
    "github": "X-GitHub-Event",
}
ENVELOPES = {
    "standard-webhooks": "type",
    "cloudevents": "type",
    "mcp-event": "name",
    "coregit": "event",
    "codmir": "type",
}


def write() -> None:
    """Write a file for each format, and delete those of formats that are gone."""
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


def files() -> Mapping[str, str]:
    """Return the content of each file by its name."""
    return {f"{slug}.json": _written(slug) for slug in SIGNATURES}


def load(slug: str) -> list[Case]:
    """Return the cases of a format as the files have them."""
    found: list[Case] = json.loads((FOLDER / f"{slug}.json").read_text())["cases"]
    return found


def _written(slug: str) -> str:
    cases = list(cases_of(slug))
    assert len({case["name"] for case in cases}) == len(cases), "two cases have one name"
    return json.dumps({"format": slug, "cases": cases}, indent=1, ensure_ascii=False) + "\n"


def cases_of(slug: str) -> Iterator[Case]:
    """Yield every case of a format."""
    yield from _valid(slug)
    yield from _secrets(slug)
    yield from _headers(slug)
    yield from _times(slug)
    yield from _bodies(slug)
    if slug in FAMILY:
        yield from _forms(slug)
    if slug == "websub":
        for algorithm in ("sha1", "sha384", "sha512"):
            asked = PUSH._replace(subscription={**(PUSH.subscription or {}), "algorithm": algorithm})
            yield case(f"valid: {algorithm}", slug, *sent(slug, asked), event=event_of(slug))


def case(
    name: str,
    slug: str,
    headers: Headers,
    body: bytes,
    *,
    event: Case | None = None,
    error: str | None = None,
    **more: Any,
) -> Case:
    """Return one case: a request, what it is verified with, and either the event or the error's code."""
    assert (event is None) != (error is None)
    given = {"secrets": [NEWEST], "now": int(SENT.timestamp()), **more}
    shown = [[name, VERSIONLESS if value == USER_AGENT else value] for name, value in headers]
    outcome = {"error": error} if error else {"event": event}
    return {"name": name, **given, "headers": shown, "body": base64.b64encode(body).decode(), **outcome}


def sent(slug: str, message: Message = PUSH) -> tuple[Headers, bytes]:
    """Return the headers and the body that HookHub sends."""
    rendered = FORMATS[slug].render(message)
    return list(rendered.headers), rendered.body


def event_of(slug: str, message: Message = PUSH) -> Case:
    """Return what ``verify`` returns for a message: type, id, time and data."""
    event_type = message.event_type.partition(".")[0] if slug in FAMILY else message.event_type
    ids = {"mcp-event": message.event_id, "codmir": "evt_" + message.event_id.replace("-", "")}
    whole = message.occurred_at.replace(microsecond=0)
    times = {"coregit": message.occurred_at, "codmir": whole} | dict.fromkeys(
        TIMED, message.sent_at.replace(microsecond=0)
    )
    return {
        "type": "" if slug == "websub" else event_type,
        "id": ids.get(slug, message.delivery_id if slug in STANDARD else None),
        "timestamp": _stamp(times.get(slug)),
        "data": json.loads(message.payload),
    }


def signed(slug: str, body: bytes, *, message: Message = PUSH) -> Headers:
    """Return the headers of a request with this body, whatever it is, correctly signed."""
    headers, _ = sent(slug, message)
    if slug in STANDARD:
        about = message._replace(delivery_id=message.event_id) if slug == "mcp-event" else message
        return with_headers(headers, dict(standard_webhooks.sign(about, body)))
    if slug == "code-storage":
        return sent(slug, message._replace(payload=body))[0]
    digest = hex_digest(message.secrets[0].encode(), body, algorithm="sha256")
    return with_headers(headers, {SIGNATURES[slug]: f"sha256={digest}"})


def with_headers(headers: Headers, changes: Mapping[str, str | None]) -> Headers:
    """Return headers with other values; None removes one."""
    changed = [(name, changes.get(name, value)) for name, value in headers]
    return [(name, value) for name, value in changed if value is not None]


def _stamp(moment: datetime | None) -> str | None:
    return moment and moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _valid(slug: str) -> Iterator[Case]:
    for name in ("push", "utf-8", "scalar", "verbatim"):
        message = MESSAGES[name]
        # No language agrees with another on 1e400.
        message = message._replace(payload=message.payload.replace(b"1e400", b"1e40"))
        yield case(f"valid: {name}", slug, *sent(slug, message), event=event_of(slug, message))
    headers, body = sent(slug)
    for name, spelled in (("lower case", str.lower), ("upper case", str.upper), ("swapped case", str.swapcase)):
        yield case(
            f"valid: header names in {name}", slug, [(spelled(key), value) for key, value in headers], body,
            event=event_of(slug),
        )  # fmt: skip
    strange = [*headers, ("X-Forwarded-For", "192.0.2.1"), ("Cookie", "a=b"), ("Cookie", "c=d")]
    yield case("valid: with headers of a proxy", slug, strange, body, event=event_of(slug))


def _secrets(slug: str) -> Iterator[Case]:
    headers, body = sent(slug)
    event = event_of(slug)
    yield case(
        "rotation: the receiver knows the old and the new secret",
        slug,
        headers,
        body,
        event=event,
        secrets=[OLDER, NEWEST],
    )
    yield case("rotation: the new and the old one", slug, headers, body, event=event, secrets=[NEWEST, OLDER])
    both = sent(slug, PUSH._replace(secrets=(NEWEST, OLDER)))
    yield case("rotation: signed with both, and the receiver knows the new one", slug, *both, event=event)
    # A header with room for one signature has that of the newest secret.
    outcome: Any = {"event": event} if slug in STANDARD else {"error": "wrong_signature"}
    yield case(
        "rotation: signed with both, and the receiver knows the old one", slug, *both, secrets=[OLDER], **outcome
    )
    yield case("wrong secret", slug, headers, body, error="wrong_signature", secrets=[OLDEST])
    yield case("two wrong secrets", slug, headers, body, error="wrong_signature", secrets=[OLDEST, OLDER])
    if slug in STANDARD:
        yield case(
            "valid: the secret without its prefix",
            slug,
            headers,
            body,
            event=event,
            secrets=[NEWEST.removeprefix("whsec_")],
        )
        padded = PUSH._replace(secrets=(OLDEST,))
        yield case(
            "valid: the secret without its padding",
            slug,
            *sent(slug, padded),
            event=event,
            secrets=[OLDEST.rstrip("=")],
        )
    else:
        plain = PUSH._replace(secrets=("It's a Secret to Everybody: ünïcode",))
        yield case(
            "valid: a secret that is any text", slug, *sent(slug, plain), event=event, secrets=list(plain.secrets)
        )


def _headers(slug: str) -> Iterator[Case]:
    headers, body = sent(slug)
    signature = SIGNATURES[slug]
    [value] = [value for name, value in headers if name == signature]
    yield case(
        "missing header: the signature", slug, with_headers(headers, {signature: None}), body, error="missing_header"
    )
    for blank in ("", "   "):
        changed = with_headers(headers, {signature: blank})
        yield case(f"missing header: the signature is {blank!r}", slug, changed, body, error="missing_header")
    others = [*(["webhook-id", "webhook-timestamp"] if slug in STANDARD else []), *filter(None, [TYPED_BY.get(slug)])]
    for name in others:
        yield case(f"missing header: {name}", slug, with_headers(headers, {name: None}), body, error="missing_header")
    yield case("missing header: all of them", slug, [], body, error="missing_header")
    yield case("repeated header: the signature", slug, [*headers, (signature, value)], body, error="malformed_header")
    twice = [*headers, (signature.swapcase(), value)]
    yield case("repeated header: the signature in another case", slug, twice, body, error="malformed_header")
    long = with_headers(headers, {signature: value + "0" * 9000})
    yield case("malformed header: a very long signature", slug, long, body, error="malformed_header")
    spaced = with_headers(headers, {signature: f" \t{value}\t "})
    yield case("valid: blanks around the signature", slug, spaced, body, event=event_of(slug))
    for other in "\v\x1c\x85\ufeff":
        changed = with_headers(headers, {signature: value + other})
        yield case(f"after the signature: {other!a}", slug, changed, body, error="wrong_signature")
    for what, (malformed, error) in _malformed(slug, value).items():
        yield case(f"malformed header: {what}", slug, with_headers(headers, {signature: malformed}), body, error=error)
    if slug in STANDARD:
        more = with_headers(headers, {signature: f"v1a,AAAA v1,AAAA  {value}"})
        yield case("valid: among signatures of other versions", slug, more, body, event=event_of(slug))
        for name, other, error in (
            ("webhook-id", "another", "wrong_signature"),
            ("webhook-timestamp", str(int(SENT.timestamp()) + 1), "wrong_signature"),
        ):
            yield case(f"tampered header: {name}", slug, with_headers(headers, {name: other}), body, error=error)


def _malformed(slug: str, value: str) -> Mapping[str, tuple[str, str]]:
    """Return malformed values of the signature's header, each with the error's code."""
    if slug in STANDARD:
        code = value.removeprefix("v1,")
        return {
            "no version": (code, "wrong_signature"),
            "another version": (f"v2,{code}", "wrong_signature"),
            "no signature": ("v1,", "wrong_signature"),
            "not base64": ("v1,%%%%", "wrong_signature"),
            "no padding": (value.rstrip("="), "wrong_signature"),
            "more padding": (f"{value}=", "wrong_signature"),
            "in the alphabet for URLs": (f"v1,{'_' * 43}=", "wrong_signature"),
        }
    if slug == "code-storage":
        moment, _, digest = value.partition(",")
        return {
            "no time": (digest, "malformed_header"),
            "no signature": (moment, "malformed_header"),
            "an empty signature": (f"{moment},sha256=", "malformed_header"),
            "a time that is no number": (f"t=NaN,{digest}", "malformed_header"),
            "a time with a fraction": (f"{moment}.5,{digest}", "malformed_header"),
            "a time of many digits": (f"t={'9' * 400},{digest}", "malformed_header"),
            "too short": (value[:-2], "wrong_signature"),
            "upper case": (f"{moment},sha256={digest.removeprefix('sha256=').upper()}", "wrong_signature"),
            "a blank after the comma": (f"{moment}, {digest}", "malformed_header"),
        }
    digest = value.removeprefix("sha256=")
    return {
        "no algorithm": (digest, "malformed_header"),
        "another algorithm": (f"md5={digest}", "malformed_header"),
        "the algorithm in upper case": (f"SHA256={digest}", "malformed_header"),
        "no signature": ("sha256=", "wrong_signature"),
        "too short": (value[:-2], "wrong_signature"),
        "too long": (f"{value}00", "wrong_signature"),
        "upper case": (f"sha256={digest.upper()}", "wrong_signature"),
        "not hexadecimal": (f"sha256={'z' * 64}", "wrong_signature"),
    }


def _times(slug: str) -> Iterator[Case]:
    headers, body = sent(slug)
    event = event_of(slug)
    moment = int(SENT.timestamp())
    if slug in TIMED:
        # Clocks of Code Storage's senders may be ahead by less than their requests may be old.
        ahead = 60 if slug == "code-storage" else 300
        yield case("timestamp: as old as allowed", slug, headers, body, event=event, now=moment + 300)
        yield case("timestamp: too old", slug, headers, body, error="wrong_time", now=moment + 301)
        yield case("timestamp: as far ahead as allowed", slug, headers, body, event=event, now=moment - ahead)
        yield case("timestamp: too far ahead", slug, headers, body, error="wrong_time", now=moment - ahead - 1)
        yield case("timestamp: unchecked", slug, headers, body, event=event, now=moment + 10**8, tolerance=0)
        yield case(
            "timestamp: a shorter tolerance", slug, headers, body, error="wrong_time", now=moment + 11, tolerance=10
        )
        yield case("timestamp: a longer tolerance", slug, headers, body, event=event, now=moment + 3600, tolerance=3600)
        ancient = PUSH._replace(sent_at=datetime(1970, 1, 1, tzinfo=UTC))
        yield case("timestamp: from 1970", slug, *sent(slug, ancient), error="wrong_time")
    else:
        yield case(
            "timestamp: an old request is valid, since none is signed",
            slug,
            headers,
            body,
            event=event,
            now=moment + 10**8,
        )
    if slug in DATED:
        day = int(timedelta(days=1).total_seconds())
        yield case("event: not too old", slug, headers, body, event=event, now=moment + day - 5, max_event_age=day)
        yield case("event: too old", slug, headers, body, error="wrong_time", now=moment + day + 5, max_event_age=day)
        yield case("event: in the future", slug, headers, body, error="wrong_time", now=moment - 310, max_event_age=day)


def _bodies(slug: str) -> Iterator[Case]:
    headers, body = sent(slug)
    tampered = {
        "tampered body: a changed byte": body.replace(b"main", b"mine"),
        "tampered body: a line break at its end": body + b"\n",
        "tampered body: cut off": body[:-1],
        "tampered body: empty": b"",
        "tampered body: not UTF-8": body + b"\xff",
    }
    for name, changed in tampered.items():
        yield case(name, slug, headers, changed, error="wrong_signature")
    invalid = {
        "empty": b"",
        "not JSON": b"{",
        "not UTF-8": sent(slug, PUSH._replace(payload=b'"\xff"'))[1],
        "with a byte order mark": b"\xef\xbb\xbf" + body,
        "in UTF-16": body.decode().encode("utf-16"),
        "with NaN": sent(slug, PUSH._replace(payload=b"NaN"))[1],
        "JSON, and more": body + b" x",
    }
    if slug not in FAMILY:
        invalid["a form"] = b"payload=%7B%7D"
    for name, content in invalid.items():
        yield case(f"signed body: {name}", slug, signed(slug, content), content, error="invalid_body")
    if field := ENVELOPES.get(slug):
        envelope = json.loads(body)
        wrong = {
            "an array": [],
            "no data": {key: value for key, value in envelope.items() if key != "data"},
            "no type": {key: value for key, value in envelope.items() if key != field},
            "a type that is a number": {**envelope, field: 7},
            "a type that is null": {**envelope, field: None},
        }
        if slug in DATED:
            wrong |= {
                f"a time that is {moment}": {**envelope, "timestamp": moment}
                for moment in (
                    None,
                    "",
                    "2026-03-04",
                    "2026-03-04T12:00:00",
                    "2026-13-04T12:00:00Z",
                    1772625600,
                    "2026-03-04T24:00:00Z",
                    "2026-03-04T12:00:60Z",
                    "2026-03-04T12:00:00+24:00",
                    "2026-03-04T12:00:00+00:60",
                    "0000-01-01T00:00:00Z",
                )
            }
        for name, parsed in wrong.items():
            content = json.dumps(parsed).encode()
            yield case(f"signed body: {name}", slug, signed(slug, content), content, error="invalid_body")


def _forms(slug: str) -> Iterator[Case]:
    for name in ("push", "utf-8", "sigmagit-issue"):
        message = MESSAGES[name]._replace(content_type="form")
        yield case(f"valid: {name} in a form", slug, *sent(slug, message), event=event_of(slug, message))
    for name, content in {
        "a form with another field": b"payload=1&payload=2",
        "half a form": b"payload=%7",
        "an empty form": b"payload=",
        "a form that is not UTF-8": b"payload=%22%FF%22",
    }.items():
        yield case(f"signed body: {name}", slug, signed(slug, content), content, error="invalid_body")


def path_of(slug: str) -> Path:
    """Return the file of a format."""
    return FOLDER / f"{slug}.json"
