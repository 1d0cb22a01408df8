"""The receiver's helper: what it verifies, what it rejects, and the error messages."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from hookhub.receiving import FORMATS, Received, VerificationFailed, verify

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"the first secret of this webhook").decode()
OTHER = "whsec_" + base64.b64encode(b"some other webhook's own secret!").decode()
BODY = '{"type":"push","timestamp":"2026-03-04T05:06:07Z","data":{"ref":"refs/heads/ü"}}'.encode()
RECEIVED = Received(type="push", id="msg_1", timestamp=NOW, data={"ref": "refs/heads/ü"})


def signed(body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), at: datetime = NOW) -> dict[str, str]:
    signatures = [Webhook(secret).sign("msg_1", at, body.decode()) for secret in secrets]
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        pytest.param(signed(), SECRET, id="one secret"),
        pytest.param(signed(), [OTHER, SECRET], id="ours is the second of the live secrets"),
        pytest.param(signed(secrets=(OTHER, SECRET)), SECRET, id="ours is the second of the signatures"),
        pytest.param(signed(), SECRET.rstrip("="), id="the secret lost its padding"),
        pytest.param(signed(), SECRET.removeprefix("whsec_"), id="the secret lost its prefix"),
        pytest.param({name.title(): value for name, value in signed().items()}, SECRET, id="headers in title case"),
        pytest.param({name.upper(): value for name, value in signed().items()}, SECRET, id="headers in upper case"),
        pytest.param(
            {**signed(), "webhook-signature": f"v1a,AAAA v1,%% {signed()['webhook-signature']}"},
            SECRET,
            id="beside signatures of other versions and nonsense",
        ),
    ],
)
def test_what_an_independent_library_signed_is_verified(headers: dict[str, str], secrets: str | list[str]) -> None:
    assert verify(BODY, headers, secrets=secrets, now=NOW) == RECEIVED


def test_the_independent_library_and_we_agree_about_now() -> None:
    headers = signed(at=datetime.now(UTC).replace(microsecond=0))

    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)
    assert verify(BODY, headers, secrets=SECRET).data == {"ref": "refs/heads/ü"}


@pytest.mark.parametrize(
    ("body", "headers", "sentence"),
    [
        pytest.param(BODY + b" ", signed(), "No signature matches", id="the body was changed"),
        pytest.param(BODY, signed(secrets=(OTHER,)), "No signature matches", id="another webhook's secret"),
        pytest.param(BODY, {**signed(), "webhook-id": "msg_2"}, "No signature matches", id="the id was changed"),
        pytest.param(
            BODY, {**signed(), "webhook-timestamp": "1772600768"}, "No signature matches", id="the time was changed"
        ),
        pytest.param(BODY, {**signed(), "webhook-signature": "v1,"}, "No signature matches", id="an empty signature"),
        pytest.param(
            BODY, {**signed(), "webhook-signature": "v1,ünïcode"}, "No signature matches", id="a signature not in ASCII"
        ),
        pytest.param(BODY, {}, "no known signature header", id="no headers at all"),
        pytest.param(
            BODY,
            {**signed(), "webhook-id": ""},
            "The webhook-id header is missing or empty.",
            id="an empty header is missing",
        ),
        pytest.param(
            BODY,
            signed(at=NOW - timedelta(seconds=301)),
            "was signed 301 seconds ago; the tolerance is 300 seconds",
            id="too old",
        ),
        pytest.param(
            BODY, signed(at=NOW + timedelta(seconds=301)), "was signed 301 seconds in the future", id="too new"
        ),
        pytest.param(b"not json", signed(b"not json"), "the body is not valid JSON", id="signed, but not JSON"),
        pytest.param(
            b"[1]", signed(b"[1]"), "fields are missing from the body: type, data", id="signed, but not an event"
        ),
        pytest.param(
            BODY,
            {**signed(), "x-coregit-signature": "sha256=00"},
            "signatures of several formats",
            id="two formats at once, when the sender must not choose",
        ),
    ],
)
def test_a_request_that_proves_nothing_is_refused_with_the_reason(
    body: bytes, headers: dict[str, str], sentence: str
) -> None:
    with pytest.raises(VerificationFailed, match=sentence):
        verify(body, headers, secrets=SECRET, now=NOW)


@pytest.mark.parametrize("sent", ["", "soon", "1.5", "-1", "9" * 30, "٣"])
def test_a_timestamp_must_be_whole_seconds(sent: str) -> None:
    content = f"msg_1.{sent}.".encode() + BODY
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": sent, "webhook-signature": f"v1,{signature}"}

    with pytest.raises(VerificationFailed, match="webhook-timestamp header is"):
        verify(BODY, headers, secrets=SECRET, now=NOW)


@pytest.mark.parametrize("age", [timedelta(seconds=300), timedelta(seconds=-300)])
def test_the_tolerance_is_inclusive(age: timedelta) -> None:
    assert verify(BODY, signed(at=NOW - age), secrets=SECRET, now=NOW).id == "msg_1"


def test_a_wider_tolerance_can_be_asked_for() -> None:
    headers = signed(at=NOW - timedelta(hours=6))

    assert verify(BODY, headers, secrets=SECRET, now=NOW, tolerance=timedelta(hours=7)).type == "push"


COREGIT_BODY = b'{"event":"repo.created","timestamp":"2026-03-04T05:06:07.089Z","org_id":"acme","data":{"name":"w"}}'


def coregit(body: bytes = COREGIT_BODY, *, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-CoreGit-Event": "repo.created", "X-CoreGit-Signature": f"sha256={signature}"}


def test_a_coregit_request_is_recognised_and_verified() -> None:
    assert verify(COREGIT_BODY, coregit(), secrets=[OTHER, SECRET]) == Received(
        type="repo.created",
        id=None,
        timestamp=datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC),
        data={"name": "w"},
    )


@pytest.mark.parametrize(
    ("body", "headers", "sentence"),
    [
        pytest.param(COREGIT_BODY + b" ", coregit(), "No signature matches", id="the body was changed"),
        pytest.param(COREGIT_BODY, coregit(secret=OTHER), "No signature matches", id="another secret"),
        pytest.param(COREGIT_BODY, {"X-CoreGit-Signature": "sha1=00"}, "must start with 'sha256='", id="another hash"),
        pytest.param(
            COREGIT_BODY, {"X-CoreGit-Signature": "sha256=ü"}, "No signature matches", id="a signature not in ASCII"
        ),
        pytest.param(
            b'{"event":"a","timestamp":1,"data":1}',
            coregit(b'{"event":"a","timestamp":1,"data":1}'),
            '"timestamp" in the body is not an RFC 3339 time: int',
            id="no time",
        ),
    ],
)
def test_a_coregit_request_that_proves_nothing_is_refused(body: bytes, headers: dict[str, str], sentence: str) -> None:
    with pytest.raises(VerificationFailed, match=sentence):
        verify(body, headers, secrets=SECRET)


def test_asking_for_one_format_ignores_the_signature_of_another() -> None:
    with pytest.raises(VerificationFailed, match="The webhook-id header is missing"):
        verify(COREGIT_BODY, coregit(), secrets=SECRET, format="standard-webhooks")


@pytest.mark.parametrize(
    ("secrets", "format_name", "sentence"),
    [
        pytest.param([], None, "at least one secret", id="no secret"),
        pytest.param("", None, "none may be empty", id="an empty secret"),
        pytest.param([SECRET, ""], None, "none may be empty", id="an empty secret among others"),
        pytest.param("whsec_", "standard-webhooks", "'whsec_' followed by base64", id="a prefix without a secret"),
        pytest.param("whsec_!!!", "standard-webhooks", "'whsec_' followed by base64", id="not base64"),
        pytest.param(
            SECRET,
            "gitlab",
            "unknown format 'gitlab'; use one of standard-webhooks, coregit, ",
            id="a format nobody knows",
        ),
    ],
)
def test_the_callers_own_mistakes_are_not_the_senders(
    secrets: str | list[str], format_name: str | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        verify(BODY, signed(), secrets=secrets, format=format_name, now=NOW)


def test_a_body_that_was_already_decoded_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="raw body as bytes, not str"):
        verify(BODY.decode(), signed(), secrets=SECRET, now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.told_by])
def test_every_format_is_found_by_a_header_in_lower_case_of_its_own(name: str) -> None:
    header = FORMATS[name].told_by or ""

    assert header == header.lower()
    assert [other for other in FORMATS if FORMATS[other].told_by == header] == [name]


def test_a_receiver_needs_nothing_installed() -> None:
    program = "import sys; import hookhub.receiving; print([m for m in ('django', 'requests') if m in sys.modules])"

    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert imported.stdout == "[]\n"
