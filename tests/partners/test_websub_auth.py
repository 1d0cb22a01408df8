"""The signatures of updates are those that requests-websub-auth, an independent program, computes."""

import pytest
import requests
from requests_websub_auth import WebSubAlgorithm, WebSubAuth

from deliveries.formats.websub import ALGORITHMS, WebSub
from tests.golden.messages import PUSH

SECRETS = ("s", "my secret", "größer 🎉", "x" * 199)
BODIES = (
    b"{}",
    b'{"ref":"refs/heads/main"}',
    '{"text":"größer <&> 🎉", "n": 1.50}'.encode(),
    b"[" + b" " * 100_000 + b"]",
)


def test_it_knows_the_same_algorithms() -> None:
    assert {each.value for each in WebSubAlgorithm} == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("body", BODIES, ids=len)
def test_signatures_are_the_same(algorithm: str, secret: str, body: bytes) -> None:
    subscription = {**(PUSH.subscription or {}), "algorithm": algorithm}

    rendered = WebSub().render(PUSH._replace(payload=body, secrets=(secret,), subscription=subscription))

    request = requests.Request("POST", "http://callback.example/", data=rendered.body).prepare()
    expected = WebSubAuth(secret, WebSubAlgorithm(algorithm))(request).headers["X-Hub-Signature"]
    assert dict(rendered.headers)["X-Hub-Signature"] == expected
