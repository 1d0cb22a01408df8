"""Validation and normalization of webhook URLs: the syntax, and whether the SSRF guard allows the host and port."""

import logging
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address
from threading import BoundedSemaphore
from urllib.parse import quote

import idna

from deliveries.sending import ssrf
from deliveries.sending.dns import resolver_of_this_process

log = logging.getLogger("hookhub.guard")

MAX_LENGTH = 2048
# A web server thread waits for this look-up. If it times out, the check at every connection still applies.
LOOKUP_BUDGET = timedelta(milliseconds=300)
# Threads that may wait for a look-up at the same time: unresponsive name servers must not block all web threads.
MAX_WAITING = 2

_waiting = BoundedSemaphore(MAX_WAITING)

# RFC 1035 limits a name to 255 octets on the wire, which leaves this many characters.
_MAX_HOST_LENGTH = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
# `urlsplit` silently drops tabs and newlines, and browsers read a backslash as a slash. Programs that parse a URL
# differently connect to different hosts, so every character on which parsers disagree is refused.
_UNREADABLE = re.compile(r"[\s\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_PORT = re.compile(r"[0-9]{1,5}")
# Underscores are allowed, against RFC 952, because Docker and Windows use them in host names.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# As in browsers and libcurl, a host whose last label is a number must be an IPv4 address.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

Resolve = Callable[[str], list[str]]


class InvalidURL(ValueError):
    """A URL is invalid or not allowed; ``message`` is a sentence that says why and how to correct it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class _Target:
    """The parts of a valid URL; ``host`` has no brackets, ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Return scheme, host and port, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def without_query(self) -> str:
        """Return the URL without its query."""
        return self.origin + self.path.partition("?")[0]

    @property
    def url(self) -> str:
        """Return the normalized URL."""
        return self.origin + self.path


def normalise(url: object) -> str:
    """Return ``url`` in its normalized form, which is the one that is stored. Raise InvalidURL if it is invalid.

    Scheme and host become lower-case ASCII, and addresses their canonical form; a default port and a trailing dot are
    removed. Path and query stay byte for byte, except that non-ASCII characters are percent-encoded as UTF-8.
    """
    return _parse(url).url


def normalise_host(host: str) -> str:
    """Return the normalized form of a host name or address. Raise InvalidURL if it is invalid.

    An IPv6 address is given in brackets and returned without them.
    """
    if host.startswith("["):
        return _ipv6(host)
    if "%" in host:
        raise InvalidURL("The URL's host is percent-encoded; write it unencoded.")
    name = _mapped(host).removesuffix(".")
    if not name:
        raise InvalidURL("The URL has no host; write it as https://host/path.")
    name = ".".join(_label(label) for label in name.split("."))
    if _ENDS_IN_NUMBER.fullmatch(name):
        return _ipv4(name)
    if len(name) > _MAX_HOST_LENGTH:
        raise InvalidURL(f"The URL's host is longer than {_MAX_HOST_LENGTH} characters, the maximum for a host name.")
    return name


def host_and_port_of(url: str) -> tuple[str, int]:
    """Return host and port of a normalized URL; an IPv6 address comes without brackets."""
    target = _parse(url)
    return target.host, target.port


def changes_receiver(url: str, before: str) -> bool:
    """Return whether two normalized URLs lead to different receivers.

    They lead to the same one if they differ only in the query, or also in https having replaced http (the port stays,
    or changes from 80 to 443). Another path counts as another receiver: on gateways and request-inspection services,
    the paths of one host belong to different people.
    """
    was = _parse(before)
    encrypted = _parse(before.replace("http:", "https:", 1))
    return _parse(url).without_query not in {was.without_query, encrypted.without_query}


def check(url: object, *, policy: ssrf.Policy, https_only: bool = False, resolve: Resolve | None = None) -> str:
    """Return the normalized form of ``url``. Raise InvalidURL if it is invalid or not allowed for a webhook.

    ``resolve`` returns the addresses of a host name; a single forbidden address is enough to refuse the URL.
    If it raises OSError or returns none, the URL is accepted, because the guard checks every connection anyway.
    """
    target = _parse(url, https_only=https_only)
    refusal = ssrf.port_refusal(target.port, subject=target.host)
    if refusal is not None:
        raise InvalidURL(refusal)
    for address in _addresses(target, resolve):
        reason = ssrf.refusal(address, target.port, policy=policy, host=target.host)
        if reason is not None:
            log.warning("Rejected a webhook URL: %s", reason)
            raise InvalidURL(ssrf.public_refusal(address, target.port, policy=policy, host=target.host) or reason)
    return target.url


def resolve_quickly(host: str, *, budget: timedelta = LOOKUP_BUDGET) -> list[str]:
    """Return the addresses that the system's resolver finds for ``host``. Raise OSError if it fails.

    Raise TimeoutError, an OSError, after ``budget``, or at once if MAX_WAITING threads are already waiting.
    """
    if not _waiting.acquire(blocking=False):
        raise TimeoutError("Too many DNS lookups are in progress.")
    try:
        return resolver_of_this_process().look_up(host).result(timeout=budget.total_seconds())
    finally:
        _waiting.release()


def _addresses(target: _Target, resolve: Resolve | None) -> list[str]:
    """Return the addresses of the target's host, or [] if they cannot be determined before connecting."""
    if ":" in target.host or _ENDS_IN_NUMBER.fullmatch(target.host):
        return [target.host]
    if target.host == "localhost" or target.host.endswith(".localhost"):
        # RFC 6761; libcurl implements it without asking a resolver.
        return ["127.0.0.1"]
    if resolve is None:
        return []
    try:
        return resolve(target.host)
    except OSError:
        return []


def _parse(url: object, *, https_only: bool = False) -> _Target:
    """Split ``url`` into its normalized parts. Raise InvalidURL if it is invalid."""
    text = _readable(url)
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS or (https_only and scheme != "https"):
        raise InvalidURL(f"The URL must begin with {'https://' if https_only else 'https:// or http://'}.")
    if "#" in rest:
        raise InvalidURL("The URL has a fragment, which is never sent to a server; remove '#' and everything after it.")

    authority = re.split("[/?]", rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    host, port = _host_and_port(authority)
    target = _Target(
        scheme=scheme,
        host=host,
        port=_DEFAULT_PORTS[scheme] if port is None else port,
        path=_NOT_ASCII.sub(lambda found: quote(found[0]), path if path.startswith("/") else f"/{path}"),
    )
    if len(target.url) > MAX_LENGTH:
        raise InvalidURL(f"The URL is longer than {MAX_LENGTH:,} characters once encoded; use a shorter one.")
    return target


def _readable(url: object) -> str:
    """Return ``url`` if it is a string of acceptable length that all parsers read alike, else raise InvalidURL."""
    if not isinstance(url, str):
        raise InvalidURL("The URL must be a string.")
    if not url:
        raise InvalidURL("The URL is empty; write it as https://host/path.")
    if len(url) > MAX_LENGTH:
        raise InvalidURL(f"The URL is longer than {MAX_LENGTH:,} characters; use a shorter one.")
    if _UNREADABLE.search(url):
        raise InvalidURL(
            "The URL contains a space, a control character, a backslash or an unpaired surrogate; "
            "remove it, or percent-encode it in the path."
        )
    return url


def _host_and_port(authority: str) -> tuple[str, int | None]:
    """Split the part between ``//`` and the path into host and port; the port is None if there is none."""
    if "@" in authority:
        raise InvalidURL("The URL contains a user name or password; send credentials in a custom header instead.")
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise InvalidURL("The URL's host contains a stray bracket; only IPv6 addresses are written in [ and ].")
    host, port = split.groups()
    if port is None:
        return normalise_host(host), None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= ssrf.LAST_PORT:
        raise InvalidURL(
            f"The URL's port must be a number from 1 to {ssrf.LAST_PORT}; an IPv6 address is written in [ and ]."
        )
    return normalise_host(host), int(port)


def _ipv6(bracketed: str) -> str:
    """Return the compressed form of an IPv6 address given in brackets, without them. Raise InvalidURL."""
    if "%" in bracketed:
        raise InvalidURL("The URL's IPv6 address has a zone, which is valid on one machine only; remove it.")
    written = _IPV6.fullmatch(bracketed)
    try:
        if written:
            return IPv6Address(written[1]).compressed
    except ValueError:
        pass
    raise InvalidURL("The URL's host is in brackets but is not an IPv6 address; correct it or remove the brackets.")


def _ipv4(name: str) -> str:
    """Return the dotted form of an IPv4 address in any spelling that a resolver accepts. Raise InvalidURL."""
    try:
        # Resolvers parse 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 with this function. It opens no socket.
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        raise InvalidURL("The URL's host ends in a number but is not an IPv4 address; correct it.") from None


def _mapped(host: str) -> str:
    """Return ``host`` in lower case, with UTS 46 mapping applied (circled digits, ideographic full stops)."""
    if host.isascii():
        return host.lower()
    try:
        return idna.uts46_remap(host, std3_rules=False)
    except idna.IDNAError:
        raise InvalidURL("The URL's host contains a character that is not allowed in host names; remove it.") from None


def _label(label: str) -> str:
    """Return one label of a host name in its DNS (ASCII) form. Raise InvalidURL if it is invalid."""
    try:
        # ASCII names in real use, such as r3---sn.example, break the rules of IDNA, so only international labels are
        # checked against them.
        ascii_label = label if label.isascii() and not label.startswith("xn--") else idna.alabel(label).decode()
    except idna.IDNAError:
        raise InvalidURL("The URL's host is not a valid international domain name; correct it.") from None
    if not _LABEL.fullmatch(ascii_label):
        raise InvalidURL(
            "Each part of the URL's host must be 1 to 63 letters, digits, hyphens or underscores, "
            "with no hyphen at either end; correct it."
        )
    return ascii_label
