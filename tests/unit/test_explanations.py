"""Why an attempt did not deliver, in words: every cause and every status has a sentence, and none repeats a secret."""

import pytest

from deliveries.formats import FORMATS
from deliveries.policy.explanations import BY_CAUSE, BY_STATUS, Explanation, Facts, explain
from deliveries.policy.outcomes import CAUSES

PLAIN = FORMATS["standard-webhooks"]
URL = "https://ci.example/hooks?***"


def facts(**given: object) -> Facts:
    usual = {
        "outcome": "failed", "cause": None, "status": None, "error": "", "url": URL, "response_headers": "",
        "response_body": b"", "seconds": 1.25,
    }  # fmt: skip
    return Facts(**(usual | given))  # type: ignore[arg-type]


def explained(wire_format: str = PLAIN.slug, **given: object) -> Explanation:
    found = explain(facts(**given), wire_format=FORMATS[wire_format])
    assert found is not None
    return found


def is_prose(text: str) -> bool:
    return (
        (text[0].isupper() or text.startswith("ci.example"))
        and text[-1] == "."
        and "{" not in text
        and ".." not in text
        and "\n" not in text
    )


def test_what_was_delivered_needs_no_explanation() -> None:
    assert explain(facts(outcome="delivered", status=200), wire_format=PLAIN) is None


def test_every_cause_is_explained_and_no_other() -> None:
    assert set(BY_CAUSE) == set(CAUSES)


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_says_what_happened_and_what_to_do(cause: str) -> None:
    found = explained(outcome="no_response", cause=cause, error="It went wrong.")

    assert is_prose(found.what_happened)
    assert is_prose(found.what_to_do)
    assert "***" not in found.what_happened


@pytest.mark.parametrize("cause", [None, "a cause of a later version"])
def test_an_unknown_cause_shows_the_error(cause: str | None) -> None:
    found = explained(outcome="no_response", cause=cause, error="HTTP/2 framing layer")

    assert found.what_happened == "There was no complete response: HTTP/2 framing layer."


@pytest.mark.parametrize("status", [*range(100, 600, 7), *BY_STATUS, 0, 600, 999])
def test_each_status_says_what_happened_and_what_to_do(status: int) -> None:
    if 200 <= status <= 299:
        return
    found = explained(status=status)

    assert is_prose(found.what_happened)
    assert is_prose(found.what_to_do)
    if status in range(200, 600):
        assert str(status) in found.what_happened


def test_a_name_that_does_not_resolve_is_named() -> None:
    found = explained(outcome="no_response", cause="name_not_resolved")

    assert found.what_happened == "The name ci.example does not resolve to an address."


def test_a_certificate_that_expired_says_when() -> None:
    error = "The certificate expired on 2021-01-01"

    found = explained(outcome="no_response", cause="certificate_expired", error=error)

    assert found.what_happened == f"The certificate of ci.example is no longer valid. {error}."


def test_a_deadline_says_what_had_come_by_then() -> None:
    error = "The response was incomplete after 5 s (status 200, 17 bytes of the body)"

    assert error in explained(outcome="no_response", cause="response_incomplete", error=error).what_happened
    slow = explained(outcome="no_response", cause="response_timed_out", seconds=15.0)
    assert slow.what_happened == "ci.example accepted the request and did not respond within 15 s."


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://new.example/in", "https://new.example/in"),
        ("/moved", "https://ci.example/moved"),
        ("//other.example/", "https://other.example/"),
        ("moved?x=1", "https://ci.example/moved?x=1"),
        ("https://new.example/a\x1b[31mred\u202eevil", "https://new.example/a [31mred evil"),
        ("https://new.example/" + "x" * 900, "https://new.example/" + "x" * 280),
    ],
    ids=["absolute", "path", "network", "relative", "control characters", "long"],
)
def test_a_redirect_names_its_target(location: str, target: str) -> None:
    found = explained(status=301, response_headers=f"Content-Length: 0\nLocation: {location}\nX: y")

    assert found.what_happened.startswith(f"The receiver redirected the request (301) to {target}. ")
    assert found.what_to_do == f"If {target} is the receiver, use it as the webhook's URL."


@pytest.mark.parametrize("headers", ["", "Location:", "X-Location: https://x.example"])
def test_a_redirect_to_nowhere_says_so(headers: str) -> None:
    assert "with a redirect (302)" in explained(status=302, response_headers=headers).what_happened


def test_a_redirect_to_something_that_is_no_url_is_shown_as_it_is() -> None:
    found = explained(status=302, response_headers="location: https://[bad")

    assert "https://[bad" in found.what_happened


def test_a_lost_attempt_asks_for_nothing() -> None:
    assert explained(outcome="unknown").what_to_do.startswith("Nothing")


def test_a_format_judges_by_its_own_rules() -> None:
    gone = explained("discord", status=404, outcome="gone", response_body=b'{"code": 10015}')
    assert "exists no more" in gone.what_happened

    for slug, wire_format in FORMATS.items():
        for status in (200, 400, 403, 404, 410, 413, 429, 500):
            for body in (b"", b"no_service", b"invalid_payload", b'{"code": 50006}'):
                verdict = wire_format.verdict_on(status, body)
                if verdict in {"gone", "reject", "retry"}:
                    found = explained(slug, status=status, response_body=body)
                    assert is_prose(found.what_happened)
                    assert is_prose(found.what_to_do)
