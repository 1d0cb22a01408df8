"""What a webhook's URL may look like, and whether it may be a target here."""

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

from deliveries import guard
from deliveries.lookups import resolver_of_this_process

log = logging.getLogger("hookhub.guard")

MAX_LENGTH = 2048
# A thread of the web server waits for this answer, and the check at every dial makes up for one that does not come.
LOOKUP_BUDGET = timedelta(milliseconds=300)
# Threads that wait for one at a time: names whose nameserver is silent must not keep all of a web server's.
MAX_WAITING = 2

_waiting = BoundedSemaphore(MAX_WAITING)

# RFC 1035 gives a name 255 octets on the wire, which leaves this many characters.
_MAX_HOST_LENGTH = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
# `urlsplit` silently drops tabs and newlines, and browsers read a backslash as a slash: two programs that read a URL
# differently dial different hosts, so whatever they may disagree about is refused.
_UNREADABLE = re.compile(r"[\s\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_PORT = re.compile(r"[0-9]{1,5}")
# Docker and Windows name hosts with underscores, so they pass although RFC 952 has none.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# As browsers and libcurl do, a host whose last part is a number is an IPv4 address or nothing.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

Resolve = Callable[[str, int], list[str]]


class BadTarget(ValueError):
    """Say in a sentence, ``message``, why a URL is refused and what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class _Target:
    """Hold the parts of an acceptable URL; ``host`` is without brackets, ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Give scheme, host and port, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def door(self) -> str:
        """Return the URL without its query."""
        return self.origin + self.path.partition("?")[0]

    @property
    def url(self) -> str:
        """Give the one normalised spelling."""
        return self.origin + self.path


def normalise(url: object, *, https_only: bool = False) -> str:
    """Give the one spelling in which ``url`` is stored, or raise BadTarget.

    Scheme and host come in lower case and ASCII, addresses in their usual form, without a default port or a trailing
    dot; path and query stay byte for byte, except that characters outside ASCII are percent-encoded as UTF-8.
    """
    return _parse(url, https_only=https_only).url


def normalise_host(host: str) -> str:
    """Give the one spelling of a host name or address (IPv6 in brackets; the answer has none), or raise BadTarget."""
    if host.startswith("["):
        return _ipv6(host)
    if "%" in host:
        raise BadTarget("The URL's host is percent-encoded; write it in plain characters.")
    name = _mapped(host).removesuffix(".")
    if not name:
        raise BadTarget("The URL has no host; write it as https://host/path.")
    name = ".".join(_label(label) for label in name.split("."))
    if _ENDS_IN_NUMBER.fullmatch(name):
        return _ipv4(name)
    if len(name) > _MAX_HOST_LENGTH:
        raise BadTarget(f"The URL's host is longer than {_MAX_HOST_LENGTH} characters, which no host name may be.")
    return name


def host_of(url: str) -> str:
    """Give the host of a normalised URL, an IPv6 address without its brackets."""
    return _parse(url).host


def host_and_port_of(url: str) -> tuple[str, int]:
    """Return the host of a normalised URL, an IPv6 address without its brackets, and its port."""
    target = _parse(url)
    return target.host, target.port


def origin_of(url: str) -> str:
    """Give scheme, host and port of a normalised URL (``https://example.com:8443``), without a default port."""
    return _parse(url).origin


def leads_elsewhere(url: str, before: str) -> bool:
    """Return whether one normalised URL leads to another receiver than the other one.

    Only the query may differ, or http have become https on the default port: behind other paths of a host there may
    be other people, as at gateways and at services that hand out addresses for tests.
    """
    was = _parse(before)
    encrypted = _parse(before.replace("http:", "https:", 1))
    return _parse(url).door not in {was.door, encrypted.door}


def check(url: object, *, policy: guard.Policy, https_only: bool = False, resolve: Resolve | None = None) -> str:
    """Give the normalised spelling of a URL that may be a webhook's, or raise BadTarget.

    ``resolve`` turns a host name and a port into addresses; one forbidden address among them is enough to refuse.
    Without an answer (it raises OSError or gives none) the URL is accepted, and the check at every dial decides.
    """
    target = _parse(url, https_only=https_only)
    refusal = guard.port_refusal(target.port, subject=target.host)
    if refusal is not None:
        raise BadTarget(refusal)
    for address in _addresses(target, resolve):
        reason = guard.refusal(address, target.port, policy=policy, host=target.host)
        if reason is not None:
            log.warning("A webhook's URL is refused: %s", reason)
            raise BadTarget(guard.public_refusal(address, target.port, policy=policy, host=target.host) or reason)
    return target.url


def resolve_quickly(host: str, port: int, *, budget: timedelta = LOOKUP_BUDGET) -> list[str]:
    """Return the addresses of ``host`` as the system's resolver does, or raise OSError.

    TimeoutError is raised past ``budget``, and at once when as many threads as may wait already do.
    """
    del port  # A name has the same addresses for every port.
    if not _waiting.acquire(blocking=False):
        raise TimeoutError("Too many host names are being looked up at once.")
    try:
        return resolver_of_this_process().look_up(host).result(timeout=budget.total_seconds())
    finally:
        _waiting.release()


def _addresses(target: _Target, resolve: Resolve | None) -> list[str]:
    """List the addresses that ``target`` is known to lead to; none when only the dial can tell."""
    if ":" in target.host or _ENDS_IN_NUMBER.fullmatch(target.host):
        return [target.host]
    if target.host == "localhost" or target.host.endswith(".localhost"):
        # RFC 6761, and libcurl keeps to it without asking any resolver.
        return ["127.0.0.1"]
    if resolve is None:
        return []
    try:
        return resolve(target.host, target.port)
    except OSError:
        return []


def _parse(url: object, *, https_only: bool = False) -> _Target:
    """Read ``url`` into its parts, or raise BadTarget."""
    text = _readable(url)
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS or (https_only and scheme != "https"):
        raise BadTarget(f"The URL must begin with {'https://' if https_only else 'https:// or http://'}.")
    if "#" in rest:
        raise BadTarget("The URL has a fragment, which no server ever receives; leave out '#' and what follows it.")

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
        raise BadTarget(f"The URL is longer than {MAX_LENGTH:,} characters once encoded; use a shorter one.")
    return target


def _readable(url: object) -> str:
    """Give ``url`` if it is a text of sane length in which everybody reads the same, or raise BadTarget."""
    if not isinstance(url, str):
        raise BadTarget("The URL must be a string.")
    if not url:
        raise BadTarget("The URL is empty; write it as https://host/path.")
    if len(url) > MAX_LENGTH:
        raise BadTarget(f"The URL is longer than {MAX_LENGTH:,} characters; use a shorter one.")
    if _UNREADABLE.search(url):
        raise BadTarget(
            "The URL holds a space, a control character, a backslash or half a surrogate pair; "
            "remove it, or percent-encode it if it belongs to the path."
        )
    return url


def _host_and_port(authority: str) -> tuple[str, int | None]:
    """Split what stands between ``//`` and the path; the port is None when none is written."""
    if "@" in authority:
        raise BadTarget("The URL holds a user name or password; send credentials in a custom header instead.")
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise BadTarget("The URL's host holds a stray bracket; only an IPv6 address is written in [ and ].")
    host, port = split.groups()
    if port is None:
        return normalise_host(host), None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= guard.LAST_PORT:
        raise BadTarget(
            f"The URL's port must be a number from 1 to {guard.LAST_PORT}; an IPv6 address is written in [ and ]."
        )
    return normalise_host(host), int(port)


def _ipv6(bracketed: str) -> str:
    """Give the usual form of an IPv6 address in brackets, without them, or raise BadTarget."""
    if "%" in bracketed:
        raise BadTarget("The URL's IPv6 address has a zone, which means something on one machine only; leave it out.")
    written = _IPV6.fullmatch(bracketed)
    try:
        if written:
            return IPv6Address(written[1]).compressed
    except ValueError:
        pass
    raise BadTarget("The URL's host is in brackets but is not an IPv6 address; correct it or remove the brackets.")


def _ipv4(name: str) -> str:
    """Give the dotted form of an IPv4 address in any spelling that dialling it would understand, or raise BadTarget."""
    try:
        # Resolvers read 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 by this very function, which opens no socket.
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        raise BadTarget("The URL's host ends in a number but is not an IPv4 address; correct it.") from None


def _mapped(host: str) -> str:
    """Give ``host`` in lower case, look-alikes such as circled digits and ideographic full stops replaced (UTS 46)."""
    if host.isascii():
        return host.lower()
    try:
        return idna.uts46_remap(host, std3_rules=False)
    except idna.IDNAError:
        raise BadTarget("The URL's host holds a character that no host name may have; correct it.") from None


def _label(label: str) -> str:
    """Give one part of a host name as DNS carries it, or raise BadTarget."""
    try:
        # Names that are in use, such as r3---sn.example, break the rules of IDNA; only what claims to be international
        # has to keep them.
        ascii_label = label if label.isascii() and not label.startswith("xn--") else idna.alabel(label).decode()
    except idna.IDNAError:
        raise BadTarget("The URL's host is not a valid international domain name; correct it.") from None
    if not _LABEL.fullmatch(ascii_label):
        raise BadTarget(
            "Each part of the URL's host must be 1 to 63 letters, digits, hyphens or underscores, "
            "with no hyphen at either end; correct it."
        )
    return ascii_label
