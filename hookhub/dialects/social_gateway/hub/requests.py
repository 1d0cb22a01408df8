"""What a request to the hub asks for, by its form: pure functions that parse the topic, the callback and the rest."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qsl, unquote

from deliveries.sending.url import InvalidURL, host_and_port_of, normalise
from deliveries.webhooks.masks import is_masked_url
from hookhub.dialects.social_gateway import credentials
from hookhub.dialects.social_gateway.errors import ValidationFailed, invalid, missing
from hookhub.dialects.social_gateway.hook_types import SERVICES, WEB, Service

MODE, TOPIC, CALLBACK, SECRET = "hub.mode", "hub.topic", "hub.callback", "hub.secret"
# With these the subscriber asks that its callback be verified, or that the subscription end.
LEASE, VERIFY = "hub.lease_seconds", "hub.verify"
# PubSubHubbub allows fewer than 200 bytes.
MAX_SECRET_BYTES = 199
MAX_SETTINGS = 20

CHAT_SERVICES = {name: service for name, service in SERVICES.items() if service is not WEB}
TOPIC_FORM = "must have the form https://HOST/:owner/:repo/events/:event"
TOPIC_URL = re.compile(r"https?://[^/]+/(?P<owner>[^/?]+)/(?P<repo>[^/?]+)/events/(?P<event>[^/?]+)")
SERVICE_URL = re.compile(r"socialgateway://(?P<name>[^/?#]*)/?(\?(?P<query>[^#]*))?", re.IGNORECASE)
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
JSON_SUFFIX = ".json"
NO_QUALITY = re.compile(r"q\s*=\s*0(\.0*)?")


class Way(Enum):
    """How the hub treats a request."""

    # The caller administers the repository: what it asks for is done at once, and lasts.
    GITHUB = "github"
    # The callback must prove that it wants the subscription, which then has a lease.
    WEBSUB = "websub"


class Mode(Enum):
    """What ``hub.mode`` asks for."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Topic:
    """A repository's events of one type, and whether the payload is wanted as JSON instead of as a form."""

    owner: str
    repo: str
    event: str
    wants_json: bool


@dataclass(frozen=True, slots=True)
class Callback:
    """Where the updates go: to a URL as GitHub's ``web`` hooks, or to a service with these settings.

    ``url`` is normalized and without user name and password; a service has none.
    """

    service: Service
    settings: Mapping[str, str]
    url: str = ""


@dataclass(frozen=True, slots=True)
class HubRequest:
    """A valid request in GitHub's way; ``secret`` is "" for none."""

    mode: Mode
    topic: Topic
    callback: Callback
    content_type: str
    secret: str


def way_of(fields: Mapping[str, object], *, may_manage: bool) -> Way:
    """Return the way of a request with these fields, from a caller who may manage the topic's repository or not."""
    return Way.GITHUB if may_manage and not fields.keys() & {LEASE, VERIFY} else Way.WEBSUB


def read(fields: Mapping[str, str], *, accept: str, serves: Callable[[str], bool], prefix: str = "") -> HubRequest:
    """Return what a form asks for; raise ValidationFailed, which names every field that is missing or invalid.

    ``accept`` is the request's header of that name. ``serves`` returns whether a topic may be at a host, which it gets
    in lower case and an IPv6 address in brackets.
    """
    errors = [missing(name) for name in (MODE, TOPIC, CALLBACK) if not fields.get(name)]
    mode, topic, callback = None, None, None
    if given := fields.get(MODE):
        mode = next((each for each in Mode if each.value == given), None)
        if mode is None:
            errors.append(invalid(MODE, f"must be one of: {', '.join(each.value for each in Mode)}"))
    if given := fields.get(TOPIC):
        try:
            topic = parse_topic(given, serves=serves, prefix=prefix)
        except ValueError as error:
            errors.append(invalid(TOPIC, str(error)))
    if given := fields.get(CALLBACK):
        try:
            callback = parse_callback(given)
        except ValueError as error:
            errors.append(invalid(CALLBACK, str(error)))
    secret = fields.get(SECRET, "")
    if len(secret.encode()) > MAX_SECRET_BYTES:
        errors.append(invalid(SECRET, f"must be at most {MAX_SECRET_BYTES} bytes"))
    if secret and callback is not None and callback.service is not WEB:
        errors.append(invalid(SECRET, "cannot be set: requests to a service are not signed"))
    if errors or mode is None or topic is None or callback is None:
        raise ValidationFailed(*errors)
    content_type = "json" if topic.wants_json or accepts_json(accept) else "form"
    return HubRequest(mode, topic, callback, content_type, secret)


def parse_topic(text: str, *, serves: Callable[[str], bool], prefix: str = "") -> Topic:
    """Return the topic with this URI; raise ValueError, with a message about the field, if it is not one.

    The path says which topic it is, with or without the ``prefix`` of this deployment. The host must be one of this
    service's names, at any port.
    """
    try:
        url = normalise(text)
    except InvalidURL as error:
        raise ValueError(TOPIC_FORM) from error
    found = TOPIC_URL.fullmatch(without_prefix(url, prefix))
    if found is None:
        raise ValueError(TOPIC_FORM)
    try:
        owner, repo, event = (unquote(part, errors="strict") for part in found.group("owner", "repo", "event"))
    except UnicodeDecodeError as error:
        raise ValueError(TOPIC_FORM) from error
    if CONTROL_CHARACTERS.search(owner + repo + event):
        raise ValueError(TOPIC_FORM)
    host, _ = host_and_port_of(url)
    if not serves(f"[{host}]" if ":" in host else host):
        raise ValueError(f"has the unknown host {host}; the operator can add it to HOOKHUB_TOPIC_HOSTS")
    return Topic(owner, repo, event.removesuffix(JSON_SUFFIX), event.endswith(JSON_SUFFIX))


def without_prefix(url: str, prefix: str) -> str:
    """Return a normalized URL without the prefix of its path, unchanged if it has another one."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    inner = prefix.strip("/") + "/"
    return f"{scheme}://{host}{slash}{path.removeprefix(inner)}" if prefix.strip("/") else url


def parse_callback(text: str) -> Callback:
    """Return the callback with this URI; raise ValueError, with a message about the field, if it is not one."""
    scheme = text.partition(":")[0].lower()
    if scheme == "socialgateway":
        return _service(text)
    if scheme not in {"http", "https"}:
        raise ValueError("must begin with http://, https:// or socialgateway://")
    without_user, _ = credentials.split(text)
    # Its message is a sentence about the URL.
    url = normalise(without_user)
    if is_masked_url(url):
        raise ValueError("is masked; send the full URL")
    return Callback(WEB, {"url": text}, url)


def _service(text: str) -> Callback:
    """Return the callback that names a service, and its settings in the query; raise ValueError."""
    found = SERVICE_URL.fullmatch(text)
    if found is None:
        raise ValueError("must have the form socialgateway://SERVICE?name=value&…")
    service = CHAT_SERVICES.get(found["name"].lower())
    if service is None:
        raise ValueError(f"has an unknown service; it must be one of: {', '.join(CHAT_SERVICES)}")
    try:
        settings = parse_qsl(
            found["query"] or "", keep_blank_values=True, errors="strict", max_num_fields=MAX_SETTINGS
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"must have at most {MAX_SETTINGS} settings, in UTF-8") from error
    return Callback(service, dict(settings))


def accepts_json(accept: str) -> bool:
    """Return whether an Accept header names JSON itself; `*/*` and GitHub's media types do not."""
    for part in accept.lower().split(","):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        if media_type == "application/json" and not any(NO_QUALITY.fullmatch(word) for word in parameters):
            return True
    return False
