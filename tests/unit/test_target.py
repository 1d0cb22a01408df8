"""Validation of webhook URLs: every spelling of a forbidden address, every malformed URL, and valid ones."""

import socket
import threading
from datetime import timedelta
from ipaddress import ip_network
from urllib.parse import urlsplit

import pycurl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries.sending import dns
from deliveries.sending.ssrf import SERVICE_PORTS, Policy
from deliveries.sending.url import InvalidURL, check, host_and_port_of, normalise, normalise_host, resolve_quickly

STRICT = Policy()
DEVELOPMENT = Policy(allows_loopback=True)

GLOBAL_UNICAST = "outside 2000::/3, the only range assigned for the public Internet"
LOOPBACK = "in 127.0.0.0/8 (loopback)"
PRIVATE = "private networks"
METADATA = "in 169.254.0.0/16 (link-local, including cloud metadata services)"

# The host as written, the address it is checked as, and the list that rejects it.
FORBIDDEN_HOSTS = [
    ("127.0.0.1", "127.0.0.1", LOOPBACK),
    ("127.0.0.1.", "127.0.0.1", LOOPBACK),
    ("127.1", "127.0.0.1", LOOPBACK),
    ("0", "0.0.0.0", "in 0.0.0.0/8 (this host)"),
    ("0.0.0.0", "0.0.0.0", "in 0.0.0.0/8 (this host)"),
    ("2130706433", "127.0.0.1", LOOPBACK),
    ("0x7f000001", "127.0.0.1", LOOPBACK),
    ("0X7F000001", "127.0.0.1", LOOPBACK),
    ("0x7f.1", "127.0.0.1", LOOPBACK),
    ("0177.0.0.1", "127.0.0.1", LOOPBACK),
    ("017700000001", "127.0.0.1", LOOPBACK),
    ("①②⑦.⓪.⓪.①", "127.0.0.1", LOOPBACK),
    ("127。0。0。1", "127.0.0.1", LOOPBACK),
    ("１２７．０．０．１", "127.0.0.1", LOOPBACK),
    ("127.0.\u00ad0.1", "127.0.0.1", LOOPBACK),
    ("[::1]", "::1", GLOBAL_UNICAST),
    ("[::]", "::", GLOBAL_UNICAST),
    ("[0:0:0:0:0:0:0:1]", "::1", GLOBAL_UNICAST),
    ("[::ffff:127.0.0.1]", "::ffff:7f00:1 (127.0.0.1)", LOOPBACK),
    ("[::ffff:7f00:1]", "::ffff:7f00:1 (127.0.0.1)", LOOPBACK),
    ("[::127.0.0.1]", "::7f00:1", GLOBAL_UNICAST),
    ("[::ffff:0:127.0.0.1]", "::ffff:0:7f00:1", GLOBAL_UNICAST),
    ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1", GLOBAL_UNICAST),
    ("[64:ff9b:1::7f00:1]", "64:ff9b:1::7f00:1", GLOBAL_UNICAST),
    ("[2002:7f00:1::]", "2002:7f00:1::", "in 2002::/16 (6to4, which embeds an IPv4 address)"),
    ("[2001:0:7f00:1::]", "2001:0:7f00:1::", "in 2001::/23 (protocol assignments and Teredo)"),
    ("[fec0::1]", "fec0::1", GLOBAL_UNICAST),
    ("[fe80::1]", "fe80::1", GLOBAL_UNICAST),
    ("[FC00::1]", "fc00::1", GLOBAL_UNICAST),
    ("[ff02::1]", "ff02::1", GLOBAL_UNICAST),
    ("[100::1]", "100::1", GLOBAL_UNICAST),
    ("[3fff::1]", "3fff::1", "in 3fff::/20 (documentation)"),
    ("[5f00::1]", "5f00::1", GLOBAL_UNICAST),
    ("[4000::1]", "4000::1", GLOBAL_UNICAST),
    ("[2001:db8::1]", "2001:db8::1", "in 2001:db8::/32 (documentation)"),
    ("10.0.0.1", "10.0.0.1", f"in 10.0.0.0/8 ({PRIVATE})"),
    ("172.16.0.1", "172.16.0.1", f"in 172.16.0.0/12 ({PRIVATE})"),
    ("192.168.0.1", "192.168.0.1", f"in 192.168.0.0/16 ({PRIVATE})"),
    ("100.64.0.1", "100.64.0.1", "in 100.64.0.0/10 (carrier-grade NAT)"),
    ("169.254.169.254", "169.254.169.254", METADATA),
    ("0xa9fea9fe", "169.254.169.254", METADATA),
    ("169.254.170.2", "169.254.170.2", METADATA),
    ("100.100.100.200", "100.100.100.200", "in 100.64.0.0/10 (carrier-grade NAT)"),
    ("168.63.129.16", "168.63.129.16", "in 168.63.129.16/32 (Azure's platform address)"),
    ("192.0.0.192", "192.0.0.192", "in 192.0.0.0/24 (protocol assignments)"),
    ("[fd00:ec2::254]", "fd00:ec2::254", GLOBAL_UNICAST),
    ("198.18.0.1", "198.18.0.1", "in 198.18.0.0/15 (benchmarking)"),
    ("224.0.0.1", "224.0.0.1", "in 224.0.0.0/4 (multicast)"),
    ("240.0.0.1", "240.0.0.1", "in 240.0.0.0/4 (reserved and broadcast)"),
    ("255.255.255.255", "255.255.255.255", "in 240.0.0.0/4 (reserved and broadcast)"),
]


def answers(*addresses):
    """Return a resolver that always returns ``addresses``, and records its calls."""

    def resolve(host):
        resolve.asked.append(host)
        return list(addresses)

    resolve.asked = []
    return resolve


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("host", "judged_as", "reason"), FORBIDDEN_HOSTS, ids=[row[0] for row in FORBIDDEN_HOSTS])
def test_a_forbidden_address_is_refused_in_every_spelling(scheme, host, judged_as, reason):
    resolve = answers("93.184.216.34")

    with pytest.raises(InvalidURL) as refused:
        check(f"{scheme}://{host}/hook", policy=STRICT, resolve=resolve)

    assert refused.value.message.startswith(f"Connections to {judged_as} are not allowed: it is {reason}. ")
    assert refused.value.message == str(refused.value)
    assert resolve.asked == []


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "LOCALHOST", "ｌｏｃａｌｈｏｓｔ", "a.b.localhost", "A.Localhost."]
)
def test_localhost_is_refused_without_asking_any_resolver(host):
    resolve = answers("93.184.216.34")

    with pytest.raises(
        InvalidURL, match=r"localhost are not allowed: it resolves to a blocked address\. Ask the operator: "
    ):
        check(f"https://{host}/hook", policy=STRICT, resolve=resolve)
    with pytest.raises(
        InvalidURL, match=r"localhost are not allowed: it resolves to a blocked address\. Ask the operator: "
    ):
        check(f"https://{host}/hook", policy=STRICT)

    assert resolve.asked == []


# Addresses in the forms in which a resolver returns them.
FORBIDDEN_ANSWERS = sorted({row[1].partition(" ")[0] for row in FORBIDDEN_HOSTS} | {"::ffff:127.0.0.1", "fe80::1%eth0"})


@pytest.mark.parametrize("answer", FORBIDDEN_ANSWERS)
def test_a_name_that_leads_to_a_forbidden_address_is_refused_even_among_good_ones(answer):
    alone = answers(answer)
    mixed = answers("93.184.216.34", "2606:2800:220:1::1", answer)

    for resolve in (alone, mixed):
        with pytest.raises(InvalidURL) as refused:
            check("https://Rebind.Example/hook", policy=STRICT, resolve=resolve)

        assert refused.value.message == (
            "Connections to rebind.example are not allowed: it resolves to a blocked address. Ask the operator: "
            "the log has the address and the setting that allows it."
        )
        assert resolve.asked == ["rebind.example"]


def test_an_answer_that_is_no_address_is_refused():
    with pytest.raises(
        InvalidURL, match=r"^Connections to example\.com are not allowed: it resolves to a blocked address\."
    ):
        check("https://example.com/", policy=STRICT, resolve=answers("127.1"))


def fails_with(error):
    def resolve(host):
        raise error

    return resolve


@pytest.mark.parametrize(
    "resolve",
    [
        pytest.param(None, id="nobody to ask"),
        pytest.param(answers(), id="no address"),
        pytest.param(answers("93.184.216.34"), id="a public IPv4 address"),
        pytest.param(answers("93.184.216.34", "2606:2800:220:1::1"), id="public addresses"),
        pytest.param(fails_with(socket.gaierror(socket.EAI_NONAME, "Name or service not known")), id="NXDOMAIN"),
        pytest.param(fails_with(TimeoutError()), id="a resolver that never answers"),
        pytest.param(fails_with(OSError("Network is unreachable")), id="no network"),
    ],
)
def test_a_name_with_only_good_answers_or_none_is_accepted(resolve):
    assert check("https://Example.com:8443/hook?a=b", policy=STRICT, resolve=resolve) == (
        "https://example.com:8443/hook?a=b"
    )


NETWORK = Policy(networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
HOST = Policy(hosts=frozenset({"ci.internal", "xn--bcher-kva.internal"}))


@pytest.mark.parametrize(
    ("url", "policy", "resolve"),
    [
        pytest.param("https://93.184.216.34/", STRICT, None, id="a public IPv4 address"),
        pytest.param("https://[2606:2800:220:1::1]/", STRICT, None, id="a public IPv6 address"),
        pytest.param("https://[::ffff:5db8:d822]/", STRICT, None, id="a public address, IPv4-mapped"),
        pytest.param("http://localhost:8000/", DEVELOPMENT, None, id="localhost in development"),
        pytest.param("http://app.localhost:8000/", DEVELOPMENT, None, id="below localhost in development"),
        pytest.param("http://127.0.0.1:8000/", DEVELOPMENT, None, id="loopback in development"),
        pytest.param("http://[::1]:8000/", DEVELOPMENT, None, id="IPv6 loopback in development"),
        pytest.param("http://me.example/", DEVELOPMENT, answers("127.0.0.1", "::1"), id="a name for it in development"),
        pytest.param("http://10.1.2.3/", NETWORK, None, id="an excepted network"),
        pytest.param("http://[fd12::1]/", NETWORK, None, id="an excepted IPv6 network"),
        pytest.param("http://ci.internal/", NETWORK, answers("10.1.2.3"), id="a name into an excepted network"),
        pytest.param("http://ci.internal/", HOST, answers("10.1.2.3", "fd12::1"), id="an excepted host"),
        pytest.param("http://xn--bcher-kva.internal/", HOST, answers("10.1.2.3"), id="an excepted host, IDN"),
    ],
)
def test_what_the_policy_allows_is_accepted(url, policy, resolve):
    assert check(url, policy=policy, resolve=resolve) == url


@pytest.mark.parametrize(
    ("url", "policy", "resolve"),
    [
        pytest.param("http://0.0.0.0/", DEVELOPMENT, None, id="this host in development"),
        pytest.param("http://169.254.169.254/", DEVELOPMENT, None, id="metadata in development"),
        pytest.param("http://me.example/", DEVELOPMENT, answers("127.0.0.1", "10.0.0.1"), id="mixed in development"),
        pytest.param("http://11.0.0.1.example/", NETWORK, answers("172.16.0.1"), id="outside the excepted network"),
        pytest.param("http://evil.ci.internal/", HOST, answers("10.1.2.3"), id="below the excepted host"),
        pytest.param("http://localhost/", HOST, None, id="localhost is not the excepted host"),
    ],
)
def test_an_exception_is_no_wider_than_it_says(url, policy, resolve):
    with pytest.raises(InvalidURL, match=r"^Connections to .* are not allowed: "):
        check(url, policy=policy, resolve=resolve)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 1023, *SERVICE_PORTS])
@pytest.mark.parametrize("host", ["example.com", "93.184.216.34", "[2606:2800:220:1::1]", "ci.internal", "127.0.0.1"])
def test_a_forbidden_port_is_refused_whatever_the_host(host, port):
    policy = Policy(hosts=frozenset({"ci.internal"}), allows_loopback=True)
    resolve = answers("93.184.216.34")

    with pytest.raises(InvalidURL) as refused:
        check(f"https://{host}:{port}/", policy=policy, resolve=resolve)

    assert refused.value.message.startswith(f"Connections to port {port} of {host.strip('[]')} are not allowed: ")
    assert resolve.asked == []


ACCEPTED = {
    # label: (as written, as stored, host, origin)
    "plain": ("https://example.com/hook", "https://example.com/hook", "example.com", "https://example.com"),
    "http": ("http://example.com/", "http://example.com/", "example.com", "http://example.com"),
    "no path": ("https://example.com", "https://example.com/", "example.com", "https://example.com"),
    "a query only": ("https://example.com?a=b", "https://example.com/?a=b", "example.com", "https://example.com"),
    "an empty query": ("https://example.com/?", "https://example.com/?", "example.com", "https://example.com"),
    "mixed case": (
        "HtTpS://EXAMPLE.Com/Hook?Key=Value",
        "https://example.com/Hook?Key=Value",
        "example.com",
        "https://example.com",
    ),
    "default https port": ("https://example.com:443/", "https://example.com/", "example.com", "https://example.com"),
    "default http port": ("http://example.com:80/", "http://example.com/", "example.com", "http://example.com"),
    "http on 443": ("http://example.com:443/", "http://example.com:443/", "example.com", "http://example.com:443"),
    "another port": (
        "https://example.com:8443",
        "https://example.com:8443/",
        "example.com",
        "https://example.com:8443",
    ),
    "the last port": ("http://a.example:65535", "http://a.example:65535/", "a.example", "http://a.example:65535"),
    "a port with zeros": ("http://a.example:08080/", "http://a.example:8080/", "a.example", "http://a.example:8080"),
    "trailing dot": ("https://example.com./x", "https://example.com/x", "example.com", "https://example.com"),
    "trailing dot and port": ("http://a.example.:81/", "http://a.example:81/", "a.example", "http://a.example:81"),
    "one label": ("http://forge/x", "http://forge/x", "forge", "http://forge"),
    "underscore": ("http://my_service:8080/", "http://my_service:8080/", "my_service", "http://my_service:8080"),
    "hyphens in third and fourth place": ("http://r3---sn.a/", "http://r3---sn.a/", "r3---sn.a", "http://r3---sn.a"),
    "a 63-character label": (f"http://{'a' * 63}.b/", f"http://{'a' * 63}.b/", f"{'a' * 63}.b", f"http://{'a' * 63}.b"),
    "a numeric label": (
        "http://1.2.3.4.example/",
        "http://1.2.3.4.example/",
        "1.2.3.4.example",
        "http://1.2.3.4.example",
    ),
    "no number after all": ("http://a.0x1g/", "http://a.0x1g/", "a.0x1g", "http://a.0x1g"),
    "IDN": (
        "https://Bücher.example/",
        "https://xn--bcher-kva.example/",
        "xn--bcher-kva.example",
        "https://xn--bcher-kva.example",
    ),
    "IDN encoded": (
        "https://XN--BCHER-KVA.example/",
        "https://xn--bcher-kva.example/",
        "xn--bcher-kva.example",
        "https://xn--bcher-kva.example",
    ),
    "IDN beside an underscore": (
        "https://my_shop.bücher.example/",
        "https://my_shop.xn--bcher-kva.example/",
        "my_shop.xn--bcher-kva.example",
        "https://my_shop.xn--bcher-kva.example",
    ),
    "sharp s": ("http://faß.example/", "http://xn--fa-hia.example/", "xn--fa-hia.example", "http://xn--fa-hia.example"),
    "Kelvin sign": ("http://\u212a.example/", "http://k.example/", "k.example", "http://k.example"),
    "ideographic full stops": (
        "http://例え。テスト/",
        "http://xn--r8jz45g.xn--zckzah/",
        "xn--r8jz45g.xn--zckzah",
        None,
    ),
    "IPv4": ("http://93.184.216.34/", "http://93.184.216.34/", "93.184.216.34", "http://93.184.216.34"),
    "IPv4 as a number": ("http://1572395042/", "http://93.184.216.34/", "93.184.216.34", "http://93.184.216.34"),
    "IPv4 in octal": ("http://0135.0270.0330.042/", "http://93.184.216.34/", "93.184.216.34", "http://93.184.216.34"),
    "IPv6": ("http://[2A00::0:1]/", "http://[2a00::1]/", "2a00::1", "http://[2a00::1]"),
    "IPv6 and port": ("http://[2a00::1]:8080/", "http://[2a00::1]:8080/", "2a00::1", "http://[2a00::1]:8080"),
    "IPv6 and default port": ("https://[2a00::1]:443", "https://[2a00::1]/", "2a00::1", "https://[2a00::1]"),
    "path kept": ("http://h/a//b/../%2e%2F;p=1|", "http://h/a//b/../%2e%2F;p=1|", "h", "http://h"),
    "broken escape kept": ("http://h/%zz%", "http://h/%zz%", "h", "http://h"),
    "escaped line break kept": ("http://h/a%0d%0ab", "http://h/a%0d%0ab", "h", "http://h"),
    "query kept": ("http://h/?a=1&&b=+%20/?@:[]{}<>\"'`^", "http://h/?a=1&&b=+%20/?@:[]{}<>\"'`^", "h", "http://h"),
    "at sign in the path": ("http://h/@user:x", "http://h/@user:x", "h", "http://h"),
    "at sign in a query without a path": ("http://h?@127.0.0.1/", "http://h/?@127.0.0.1/", "h", "http://h"),
    "colon in a query without a path": ("http://h?a:b", "http://h/?a:b", "h", "http://h"),
    "path outside ASCII": ("http://h/é/😀", "http://h/%C3%A9/%F0%9F%98%80", "h", "http://h"),
    "query outside ASCII": ("http://h?q=žluť", "http://h/?q=%C5%BElu%C5%A5", "h", "http://h"),
    "2,048 characters": (f"http://h/{'a' * 2039}", f"http://h/{'a' * 2039}", "h", "http://h"),
    "a name of 253 characters": (f"http://{'a.' * 126}b/", f"http://{'a.' * 126}b/", f"{'a.' * 126}b", None),
}


@pytest.mark.parametrize(("written", "stored", "host", "origin"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_url_is_stored_in_one_spelling(written, stored, host, origin):
    assert normalise(written) == stored
    assert normalise(stored) == stored
    assert host_and_port_of(stored)[0] == host
    assert stored.startswith(f"{origin or f'http://{host}'}/")


STRING = "The URL must be a string."
EMPTY = "The URL is empty; write it as https://host/path."
LONG = "The URL is longer than 2,048 characters; use a shorter one."
LONG_ENCODED = "The URL is longer than 2,048 characters once encoded; use a shorter one."
UNREADABLE = (
    "The URL contains a space, a control character, a backslash or an unpaired surrogate; "
    "remove it, or percent-encode it in the path."
)
SCHEME = "The URL must begin with https:// or http://."
FRAGMENT = "The URL has a fragment, which is never sent to a server; remove '#' and everything after it."
USERINFO = "The URL contains a user name or password; send credentials in a custom header instead."
BRACKET = "The URL's host contains a stray bracket; only IPv6 addresses are written in [ and ]."
PORT = "The URL's port must be a number from 1 to 65535; an IPv6 address is written in [ and ]."
ESCAPED = "The URL's host is percent-encoded; write it unencoded."
HOSTLESS = "The URL has no host; write it as https://host/path."
ZONE = "The URL's IPv6 address has a zone, which is valid on one machine only; remove it."
IPV6 = "The URL's host is in brackets but is not an IPv6 address; correct it or remove the brackets."
IPV4 = "The URL's host ends in a number but is not an IPv4 address; correct it."
CHARACTER = "The URL's host contains a character that is not allowed in host names; remove it."
IDN = "The URL's host is not a valid international domain name; correct it."
LABEL = (
    "Each part of the URL's host must be 1 to 63 letters, digits, hyphens or underscores, "
    "with no hyphen at either end; correct it."
)
HOST_LONG = "The URL's host is longer than 253 characters, the maximum for a host name."

REFUSED = {
    "null": (None, STRING),
    "an int": (2130706433, STRING),
    "a list": (["https://example.com/"], STRING),
    "a dict": ({}, STRING),
    "bytes": (b"https://example.com/", STRING),
    "a boolean": (True, STRING),
    "empty": ("", EMPTY),
    "2,049 characters": (f"http://h/{'a' * 2040}", LONG),
    "10 kB": (f"https://example.com/{'a' * 10_000}", LONG),
    "too long once encoded": (f"http://h/{'é' * 340}", LONG_ENCODED),
    "a leading space": (" https://example.com/", UNREADABLE),
    "a trailing line feed": ("https://example.com/\n", UNREADABLE),
    "a tab in the host": ("https://exam\tple.com/", UNREADABLE),
    "a newline in the host": ("https://exam\nple.com/", UNREADABLE),
    "a newline in the scheme": ("ht\ntps://example.com/", UNREADABLE),
    "a space in the host": ("https://exam ple.com/", UNREADABLE),
    "a space in the path": ("https://example.com/a b", UNREADABLE),
    "CRLF in the path": ("https://example.com/\r\nX-Evil: 1", UNREADABLE),
    "NUL": ("https://example.com/\0", UNREADABLE),
    "NUL in the host": ("https://example.com\0.evil.example/", UNREADABLE),
    "DEL": ("https://example.com/\x7f", UNREADABLE),
    "a C1 control": ("https://example.com/\x9f", UNREADABLE),
    "next line": ("https://example.com/\x85", UNREADABLE),
    "a no-break space": ("https://example.com/\xa0", UNREADABLE),
    "an ideographic space": ("https://example.com/\u3000", UNREADABLE),
    "a line separator": ("https://example.com/\u2028", UNREADABLE),
    "a backslash before @": ("http://127.0.0.1\\@example.com/", UNREADABLE),
    "a backslash behind the host": ("http://example.com\\@127.0.0.1/", UNREADABLE),
    "backslashes for slashes": ("http:\\\\example.com\\", UNREADABLE),
    "a lone high surrogate": ("https://example.com/\ud800", UNREADABLE),
    "a lone low surrogate in the host": ("https://\udc00.example.com/", UNREADABLE),
    "no scheme": ("example.com/hook", SCHEME),
    "relative to the scheme": ("//127.0.0.1/", SCHEME),
    "no slashes": ("http:127.0.0.1", SCHEME),
    "one slash": ("http:/127.0.0.1", SCHEME),
    "file": ("file:///etc/passwd", SCHEME),
    "gopher": ("gopher://127.0.0.1:6379/_FLUSHALL", SCHEME),
    "ftp": ("ftp://example.com/", SCHEME),
    "a local socket": ("http+unix://%2Frun%2Fdocker.sock/info", SCHEME),
    "javascript": ("javascript:alert('http://example.com/')", SCHEME),
    "data": ("data:text/plain,http://example.com/", SCHEME),
    "a scheme that maps to https": ("ｈｔｔｐｓ://example.com/", SCHEME),
    "a scheme and a half": ("https:https://example.com/", SCHEME),
    "no scheme before the slashes": ("://example.com/", SCHEME),
    "a fragment": ("https://example.com/#top", FRAGMENT),
    "a fragment for a path": ("http://example.com#@127.0.0.1/", FRAGMENT),
    "an empty fragment": ("https://example.com/#", FRAGMENT),
    "user and password": ("https://user:pass@example.com/", USERINFO),
    "a host for a user": ("http://example.com@127.0.0.1/", USERINFO),
    "an empty user": ("http://@example.com/", USERINFO),
    "two at signs": ("http://a@b@example.com/", USERINFO),
    "three slashes": ("http:///127.0.0.1", HOSTLESS),
    "only a scheme": ("http://", HOSTLESS),
    "only a query": ("http://?a=b", HOSTLESS),
    "only a port": ("http://:80/", HOSTLESS),
    "only a dot": ("http://./", HOSTLESS),
    "only a character that maps to nothing": ("http://\u00ad/", HOSTLESS),
    "port 0": ("http://example.com:0/", PORT),
    "port 65536": ("http://example.com:65536/", PORT),
    "port -1": ("http://example.com:-1/", PORT),
    "port +80": ("http://example.com:+80/", PORT),
    "a fullwidth port": ("http://example.com:８０/", PORT),
    "an Arabic port": ("http://example.com:٨٠/", PORT),
    "two ports": ("http://example.com:80:80/", PORT),
    "an empty port": ("http://example.com:/", PORT),
    "a port of letters": ("http://example.com:http/", PORT),
    "an endless port": (f"http://example.com:{'0' * 1000}80/", PORT),
    "IPv6 without brackets": ("http://2a00::1/", PORT),
    "an opening bracket": ("http://[2a00::1/", BRACKET),
    "a closing bracket": ("http://2a00]/", BRACKET),
    "text behind the bracket": ("http://[2a00::1].example.com/", BRACKET),
    "text before the bracket": ("http://a[2a00::1]/", BRACKET),
    "two pairs of brackets": ("http://[[2a00::1]]/", BRACKET),
    "an escaped zone": ("http://[fe80::1%25eth0]/", ZONE),
    "a zone": ("http://[fe80::1%eth0]/", ZONE),
    "empty brackets": ("http://[]/", IPV6),
    "a name in brackets": ("http://[example.com]/", IPV6),
    "IPv4 in brackets": ("http://[127.0.0.1]/", IPV6),
    "too many groups": ("http://[1:2:3:4:5:6:7:8:9]/", IPV6),
    "a future address": ("http://[v1.a]/", IPV6),
    "fullwidth IPv6": ("http://[２a00::1]/", IPV6),
    "escaped digits": ("http://%31%32%37.0.0.1/", ESCAPED),
    "an escaped dot": ("http://example%2ecom/", ESCAPED),
    "octets too great": ("http://256.256.256.256/", IPV4),
    "five octets": ("http://1.2.3.4.5/", IPV4),
    "no octal digit": ("http://08.0.0.1/", IPV4),
    "a number too great": ("http://4294967296/", IPV4),
    "a hexadecimal number too great": ("http://0x100000000/", IPV4),
    "a name that ends in a number": ("http://example.1/", IPV4),
    "a name that ends in a hexadecimal number": ("http://example.0x7f/", IPV4),
    "hexadecimal without digits": ("http://0x/", IPV4),
    "a disallowed code point": ("http://⒈.example/", CHARACTER),
    "a replacement character": ("http://\ufffd.example/", CHARACTER),
    "xn-- and nothing": ("http://xn--/", IDN),
    "broken xn--": ("http://xn--a/", IDN),
    "xn-- of what maps away": ("http://xn--orhcp/", IDN),
    "xn-- of plain ASCII": ("http://xn--example-/", IDN),
    "a symbol": ("http://☃.example/", IDN),
    "an encoded label too long": (f"http://{'ü' * 63}.example/", IDN),
    "a mapped slash": ("http://example.com／evil/", LABEL),
    "a mapped colon": ("http://example.com：80/", LABEL),
    "a mapped at sign": ("http://a＠example.com/", LABEL),
    "a mapped percent sign": ("http://％31.example/", LABEL),
    "account of": ("http://a℀b.example/", LABEL),
    "a 64-character label": (f"http://{'a' * 64}.example/", LABEL),
    "an empty label": ("http://example..com/", LABEL),
    "a leading dot": ("http://.example.com/", LABEL),
    "two trailing dots": ("http://example.com../", LABEL),
    "a leading hyphen": ("http://-a.example/", LABEL),
    "a trailing hyphen": ("http://a-.example/", LABEL),
    "a semicolon": ("http://example.com;evil/", LABEL),
    "a wildcard": ("http://*.example.com/", LABEL),
    "a comma": ("http://a,b.example/", LABEL),
    "a name of 254 characters": (f"http://{'a.' * 126}bc/", HOST_LONG),
}


@pytest.mark.parametrize(("url", "message"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_url_is_refused_with_what_to_do_about_it(url, message):
    resolve = answers("93.184.216.34")

    with pytest.raises(InvalidURL) as normalised:
        normalise(url)
    with pytest.raises(InvalidURL) as checked:
        check(url, policy=STRICT, resolve=resolve)

    assert normalised.value.message == message
    assert checked.value.message == message
    assert resolve.asked == []


def test_http_is_refused_where_only_https_is_allowed():
    with pytest.raises(InvalidURL) as refused:
        check("http://example.com/", policy=STRICT, https_only=True)

    assert refused.value.message == "The URL must begin with https://."
    assert check("HTTPS://example.com", policy=STRICT, https_only=True) == "https://example.com/"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CI.Internal.", "ci.internal"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("0x7f.1", "127.0.0.1"),
        ("[FD00::0:1]", "fd00::1"),
    ],
)
def test_a_host_of_its_own_gets_the_spelling_it_has_in_a_url(written, name):
    assert normalise_host(written) == name


def test_the_host_of_what_is_no_url_is_refused():
    with pytest.raises(InvalidURL):
        host_and_port_of("http://ci.internal:x@10.0.0.1/")


# Pieces that parsers are known to interpret differently, so random URLs are hostile but often valid.
HOSTS = st.lists(
    st.sampled_from(
        [*"aZ09.-_x%:[]@;,①。．／ü", "xn--", "0x", "127", "localhost", "\u00ad", "\u200d", "ß", "[::1]", "[2A00::]"]
    )
    | st.characters(exclude_categories=()),
    max_size=8,
).map("".join)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://", "hTTps://"]),
    HOSTS | st.from_regex(r"[a-z0-9ü]{1,5}(\.[a-zA-Z0-9]{1,3}){0,3}\.?", fullmatch=True),
    st.sampled_from(["", ":", ":80", ":443", ":0", ":8080"]),
    st.text() | st.sampled_from(["", "/", "?", "/a/../b", "?@b", "/\u00e9?\u00fc", "//x", "/%zz"]),
)
# Must not fail on a busy machine.
patiently = settings(deadline=None, max_examples=300)


def accepted(url):
    """Return ``url`` normalized, or None when it is rejected with a message; any other exception fails the test."""
    try:
        return normalise(url)
    except InvalidURL as bad:
        said = bad.message
    assert said.startswith(("The URL", "Each part of the URL"))
    assert said.isascii()
    return None


@patiently
@given(url=st.text() | URLS | st.none() | st.integers() | st.binary())
def test_nothing_but_a_bad_target_is_ever_raised(url):
    stored = accepted(url)

    assert stored is None or (stored.isascii() and stored.isprintable() and " " not in stored and len(stored) <= 2048)


@patiently
@given(url=URLS)
def test_normalising_twice_changes_nothing(url):
    stored = accepted(url)

    assert stored is None or normalise(stored) == stored


@patiently
@given(url=URLS)
def test_every_parser_finds_the_same_host_in_what_is_stored(url):
    stored = accepted(url)
    if stored is None:
        return

    split = urlsplit(stored)
    host, port = host_and_port_of(stored)
    assert (split.hostname, split.port or {"http": 80, "https": 443}[split.scheme]) == (host, port)
    assert (split.username, split.password, split.fragment) == (None, None, "")
    dialled = pycurl.CurlUrl(stored)
    # libcurl formats IPv6 addresses as the C library does, which is another spelling of the same address.
    assert normalise_host(dialled.host) == host
    assert dialled.port == (str(split.port) if split.port else None)
    assert (dialled.user, dialled.password, dialled.fragment) == (None, None, None)


@pytest.mark.parametrize("stored", [row[1] for row in ACCEPTED.values()], ids=ACCEPTED)
def test_libcurl_dials_the_host_that_is_stored(stored):
    assert normalise_host(pycurl.CurlUrl(stored).host) == host_and_port_of(stored)[0]


def resolver_gives(monkeypatch, found):
    """Replace the system's resolver with ``found``."""
    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_quick_look_up_gives_each_address_once_in_the_resolvers_order(monkeypatch):
    asked = []

    def found(host, port, **options):
        asked.append((host, port, options))
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:2800:220:1::1", 443, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
        ]

    resolver_gives(monkeypatch, found)

    assert resolve_quickly("example.com") == ["2606:2800:220:1::1", "93.184.216.34"]
    assert asked == [("example.com", None, {"type": socket.SOCK_STREAM})]


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("long")]
)
def test_a_quick_look_up_raises_what_the_resolver_raises_and_stays_usable(monkeypatch, error):
    for _ in range(3):
        resolver_gives(monkeypatch, lambda *_, **__: fails_with(error)(""))
        with pytest.raises(type(error)) as raised:
            resolve_quickly("example.com")
        assert raised.value is error


def test_a_resolver_that_never_answers_holds_nobody_up(monkeypatch):
    asked, answered = threading.Event(), threading.Event()

    def found(*_, **__):
        asked.set()
        answered.wait(timeout=30)
        return []

    resolver_gives(monkeypatch, found)

    with pytest.raises(TimeoutError):
        resolve_quickly("slow.example", budget=timedelta(milliseconds=1))
    assert asked.wait(timeout=60)

    answered.set()
    assert dns.resolver_of_this_process().look_up("slow.example").result(timeout=60) == []


def test_names_that_nobody_answers_for_keep_two_threads_waiting_and_no_more(monkeypatch):
    answered, asked = threading.Event(), threading.Semaphore(0)

    def found(*_, **__):
        asked.release()
        answered.wait(timeout=30)
        return []

    resolver_gives(monkeypatch, found)
    patience = timedelta(seconds=30)
    waiting = [
        threading.Thread(target=resolve_quickly, args=(f"{n}.silent.example",), kwargs={"budget": patience})
        for n in range(2)
    ]
    for thread in waiting:
        thread.start()
    for _ in waiting:
        assert asked.acquire(timeout=60)

    with pytest.raises(TimeoutError, match="Too many DNS lookups"):
        resolve_quickly("third.example", budget=patience)
    # Without an answer the name is accepted; the check at connection time decides.
    assert check("https://third.example/", policy=Policy(), resolve=resolve_quickly) == "https://third.example/"

    answered.set()
    for thread in waiting:
        thread.join(60)
    assert resolve_quickly("third.example", budget=patience) == []
