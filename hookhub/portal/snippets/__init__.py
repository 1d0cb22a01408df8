"""The code with which receivers verify requests: for each way of signing, the same function in each language."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from deliveries.formats import FORMATS
from deliveries.formats.websub import ALGORITHMS
from deliveries.models import Webhook

# In the order in which a page shows them; the snippets are the files <kind>/<language>.txt beside this one.
LANGUAGES: Mapping[str, str] = {
    "python": "Python",
    "javascript": "JavaScript (Node.js)",
    "go": "Go",
    "ruby": "Ruby",
    "php": "PHP",
    "java": "Java",
    "csharp": "C#",
    "curl": "curl, OpenSSL",
}
PLACEHOLDER = "your-secret"

Kind = Literal["standard-webhooks", "body-hmac", "code-storage"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way of signing: its kind, the header with the signature, and the header with the id of what was sent, if any.

    ``standard-webhooks`` signs id, time and body, ``code-storage`` time and body, and ``body-hmac`` the body alone,
    with its ``algorithm``.
    """

    kind: Kind
    header: str
    id_header: str = ""
    algorithm: str = "sha256"

    @property
    def headers(self) -> tuple[str, ...]:
        """Return the headers that a request must have to be verified."""
        if self.kind == "standard-webhooks":
            return "webhook-id", "webhook-timestamp", "webhook-signature"
        return (self.header,)


STANDARD = Scheme("standard-webhooks", "webhook-signature", "webhook-id")
# Formats that are not here do not sign.
SCHEMES: Mapping[str, Scheme] = {
    "standard-webhooks": STANDARD,
    "cloudevents": STANDARD,
    "cloudevents-binary": STANDARD,
    "mcp-event": STANDARD,
    "github": Scheme("body-hmac", "X-Hub-Signature-256", "X-GitHub-Delivery"),
    "social-gateway": Scheme("body-hmac", "X-Hub-Signature-256", "X-SocialGateway-Delivery"),
    "coregit": Scheme("body-hmac", "X-CoreGit-Signature"),
    "sigmagit": Scheme("body-hmac", "X-Sigmagit-Signature"),
    "codmir": Scheme("body-hmac", "X-Codmir-Signature", "X-Codmir-Delivery"),
    "code-storage": Scheme("code-storage", "X-Pierre-Signature"),
}
OF_WEBSUB: Mapping[str, Scheme] = {
    algorithm: Scheme("body-hmac", "X-Hub-Signature", algorithm=algorithm) for algorithm in ALGORITHMS
}


def scheme_of(webhook: Webhook) -> Scheme | None:
    """Return how requests to a webhook are signed if it has a secret, or None if its format does not sign."""
    if webhook.format == "websub":
        return OF_WEBSUB[(webhook.subscription or {}).get("algorithm", ALGORITHMS[0])]
    return SCHEMES.get(webhook.format) if webhook.format in FORMATS else None


def snippets_of(scheme: Scheme) -> dict[str, str]:
    """Return the code that verifies a scheme's requests, by language."""
    number = scheme.algorithm.removeprefix("sha")
    package = "sha512" if number == "384" else scheme.algorithm
    replaced = {
        "__SECRET__": "whsec_…" if scheme.kind == "standard-webhooks" else PLACEHOLDER,
        "__HEADER__": scheme.header,
        "__HEADER_LOWER__": scheme.header.lower(),
        "__ALGORITHM__": scheme.algorithm,
        "__GO_PACKAGE__": f"crypto/{package}",
        "__GO_NEW__": "sha512.New384" if number == "384" else f"{package}.New",
        "__JAVA_MAC__": f"HmacSHA{number}",
        "__CSHARP_HMAC__": f"HMACSHA{number}",
    }
    return {language: _filled(_text_of(scheme.kind, language), replaced) for language in LANGUAGES}


def _filled(text: str, replaced: Mapping[str, str]) -> str:
    for name, value in replaced.items():
        text = text.replace(name, value)
    return text


@cache
def _text_of(kind: Kind, language: str) -> str:
    return Path(__file__).with_name(kind).joinpath(f"{language}.txt").read_text()
