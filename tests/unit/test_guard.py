"""Which addresses may be connected to: every range to its limits, every port, every exception."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries.sending.ssrf import SERVICE_PORTS, Policy, port_refusal, refusal

STRICT = Policy()


def policy(*networks: str, hosts: tuple[str, ...] = (), allows_loopback: bool = False) -> Policy:
    return Policy(
        networks=tuple(ip_network(network) for network in networks),
        hosts=frozenset(hosts),
        allows_loopback=allows_loopback,
    )


# Each range with its first and last address, and its neighbors outside if connecting to those is allowed.
RANGES = [
    ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
    ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("168.63.129.16/32", "168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
    ("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
    ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
    ("192.31.196.0/24", "192.31.196.0", "192.31.196.255", "192.31.195.255", "192.31.197.0"),
    ("192.52.193.0/24", "192.52.193.0", "192.52.193.255", "192.52.192.255", "192.52.194.0"),
    ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
    ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("192.175.48.0/24", "192.175.48.0", "192.175.48.255", "192.175.47.255", "192.175.49.0"),
    ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
    ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
    ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", None),
    ("240.0.0.0/4", "240.0.0.0", "255.255.255.255", None, None),
    ("2001::/23", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff:ffff:ffff::ffff", "2001:200::"),
    (
        "2001:db8::/32",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
    ),
    (
        "2002::/16",
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2003::",
    ),
    (
        "2620:4f:8000::/48",
        "2620:4f:8000::",
        "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:8001::",
    ),
    ("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff:ffff:ffff::ffff", "3fff:1000::"),
]


@pytest.mark.parametrize(("network", "first", "last", "before", "after"), RANGES, ids=[row[0] for row in RANGES])
def test_a_refused_range_is_refused_from_its_first_address_to_its_last(network, first, last, before, after):
    for address in (first, last):
        said = refusal(address, 443, policy=STRICT)
        assert said is not None
        assert said.startswith(f"Connections to {address} are not allowed: it is in {network} (")

    for address in filter(None, (before, after)):
        assert refusal(address, 443, policy=STRICT) is None


OUTSIDE_GLOBAL_UNICAST = {
    "unspecified": "::",
    "loopback": "::1",
    "IPv4-compatible loopback": "::127.0.0.1",
    "IPv4-translated loopback": "::ffff:0:127.0.0.1",
    "just before the IPv4-mapped": "::fffe:ffff:ffff",
    "just after the IPv4-mapped": "::1:0:0:0",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of a public address": "64:ff9b::808:808",
    "local-use NAT64": "64:ff9b:1::7f00:1",
    "discard-only": "100::1",
    "just before 2000::/3": "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "just after 2000::/3": "4000::",
    "unallocated": "4000::1",
    "segment routing": "5f00::1",
    "unique local": "fc00::1",
    "AWS metadata": "fd00:ec2::254",
    "link-local": "fe80::1",
    "link-local with a scope": "fe80::1%eth0",
    "loopback with a scope": "::1%lo",
    "site-local": "fec0::1",
    "multicast": "ff02::1",
    "the last address": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}


@pytest.mark.parametrize("address", OUTSIDE_GLOBAL_UNICAST.values(), ids=OUTSIDE_GLOBAL_UNICAST)
def test_ipv6_outside_global_unicast_is_refused(address):
    said = refusal(address, 443, policy=STRICT)

    assert said is not None
    assert said.startswith(
        f"Connections to {address} are not allowed: it is outside 2000::/3, the only range assigned for the public "
        "Internet. The operator can allow them by adding "
    )


PUBLIC = {
    "an IPv4 address": "93.184.216.34",
    "the first public IPv4 address": "1.0.0.0",
    "an IPv6 address": "2606:2800:220:1:248:1893:25c8:1946",
    "the first of 2000::/3": "2000::",
    "the last of 2000::/3": "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "a public address, IPv4-mapped": "::ffff:93.184.216.34",
    "the same in hexadecimal": "::ffff:5db8:d822",
    "upper case": "2A00:1450:4001:81B::200E",
    "with a scope": "2a00:1450:4001:81b::200e%eth0",
}


@pytest.mark.parametrize("address", PUBLIC.values(), ids=PUBLIC)
def test_a_public_address_may_be_dialled(address):
    assert refusal(address, 80, policy=STRICT) is None
    assert refusal(address, 443, policy=STRICT, host="example.com") is None


NO_ADDRESS = {
    "empty": ("", "''"),
    "a name": ("localhost", "localhost"),
    "a short spelling": ("127.1", "127.1"),
    "a number": ("2130706433", "2130706433"),
    "octal": ("0177.0.0.1", "0177.0.0.1"),
    "leading zeros": ("093.184.216.034", "093.184.216.034"),
    "brackets": ("[::1]", "[::1]"),
    "with a port": ("93.184.216.34:80", "93.184.216.34:80"),
    "a network": ("93.184.216.34/32", "93.184.216.34/32"),
    "fullwidth digits": ("９３.184.216.34", "'\\uff19\\uff13.184.216.34'"),
    "an empty scope": ("2a00::1%", "2a00::1%"),
    "a path of a local socket": ("/run/docker.sock", "/run/docker.sock"),
    "a line break": ("93.184.216.34\n", "'93.184.216.34\\n'"),
    "half a surrogate pair": ("\ud800", "'\\ud800'"),
    "endless": ("1" * 10_000, repr("1" * 80)),
}


@pytest.mark.parametrize(("address", "shown"), NO_ADDRESS.values(), ids=NO_ADDRESS)
def test_what_is_no_address_is_refused(address, shown):
    said = refusal(address, 443, policy=policy("0.0.0.0/0", "::/0", hosts=("h",), allows_loopback=True), host="h")

    assert said == f"Connections to {shown} are not allowed: it is not an IP address. No setting changes this."


SENTENCES = {
    "without a host": (
        ("10.0.0.5", ""),
        (
            "Connections to 10.0.0.5 are not allowed: it is in 10.0.0.0/8 (private networks). The operator can allow "
            "them by adding 10.0.0.5/32 to HOOKHUB_ALLOWED_NETWORKS or its host name to HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
    "with the host": (
        ("10.0.0.5", "ci.internal"),
        (
            "Connections to ci.internal are not allowed: it resolves to 10.0.0.5, which is in 10.0.0.0/8 (private "
            "networks). The operator can allow them by adding 10.0.0.5/32 to HOOKHUB_ALLOWED_NETWORKS or ci.internal "
            "to HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
    "with the address as host": (
        ("10.0.0.5", "10.0.0.5"),
        (
            "Connections to 10.0.0.5 are not allowed: it is in 10.0.0.0/8 (private networks). The operator can allow "
            "them by adding 10.0.0.5/32 to HOOKHUB_ALLOWED_NETWORKS or 10.0.0.5 to HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
    "an IPv4-mapped address": (
        ("::ffff:127.0.0.1", ""),
        (
            "Connections to ::ffff:127.0.0.1 (127.0.0.1) are not allowed: it is in 127.0.0.0/8 (loopback). The "
            "operator can allow them by adding 127.0.0.1/32 to HOOKHUB_ALLOWED_NETWORKS or its host name to "
            "HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
    "a scope": (
        ("fe80::1%eth0", ""),
        (
            "Connections to fe80::1%eth0 are not allowed: it is outside 2000::/3, the only range assigned for the "
            "public Internet. The operator can allow them by adding fe80::1/128 to HOOKHUB_ALLOWED_NETWORKS or its "
            "host name to HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
    "a scope that would break the line": (
        ("fe80::1%a\nb", ""),
        (
            "Connections to 'fe80::1%a\\nb' are not allowed: it is outside 2000::/3, the only range assigned for the "
            "public Internet. The operator can allow them by adding fe80::1/128 to HOOKHUB_ALLOWED_NETWORKS or its "
            "host name to HOOKHUB_ALLOWED_HOSTS."
        ),
    ),
}


@pytest.mark.parametrize(("asked", "said"), SENTENCES.values(), ids=SENTENCES)
def test_a_refusal_names_the_address_the_list_and_the_settings(asked, said):
    address, host = asked

    assert refusal(address, 443, policy=STRICT, host=host) == said


EXCEPTIONS = {
    # label: (policy, address, host, is connecting allowed)
    "the network holds it": (policy("10.0.0.0/8"), "10.1.2.3", "", True),
    "the first of the network": (policy("10.1.0.0/16"), "10.1.0.0", "", True),
    "the last of the network": (policy("10.1.0.0/16"), "10.1.255.255", "", True),
    "just outside the network": (policy("10.1.0.0/16"), "10.2.0.0", "", False),
    "the second network": (policy("192.168.0.0/16", "10.0.0.0/8"), "10.1.2.3", "", True),
    "an IPv4-mapped address in the network": (policy("10.0.0.0/8"), "::ffff:10.1.2.3", "", True),
    "an IPv6 network": (policy("fd00::/8"), "fd12::1", "", True),
    "an IPv6 network and a scope": (policy("fe80::/10"), "fe80::1%eth0", "", True),
    "another version": (policy("::/0"), "10.1.2.3", "", False),
    "another version, IPv4-mapped": (policy("::/0"), "::ffff:10.1.2.3", "", False),
    "every IPv4 address": (policy("0.0.0.0/0"), "169.254.169.254", "", True),
    "the host": (policy(hosts=("ci.internal",)), "10.1.2.3", "ci.internal", True),
    "the host, whatever it leads to": (policy(hosts=("ci.internal",)), "fd12::1", "ci.internal", True),
    "another host": (policy(hosts=("ci.internal",)), "10.1.2.3", "cd.internal", False),
    "a host below it": (policy(hosts=("ci.internal",)), "10.1.2.3", "evil.ci.internal", False),
    "a host that ends like it": (policy(hosts=("ci.internal",)), "10.1.2.3", "evilci.internal", False),
    "no host": (policy(hosts=("ci.internal",)), "10.1.2.3", "", False),
    "an empty name in the list": (policy(hosts=("",)), "10.1.2.3", "", False),
    "loopback in development": (policy(allows_loopback=True), "127.0.0.1", "", True),
    "the last loopback in development": (policy(allows_loopback=True), "127.255.255.255", "", True),
    "IPv6 loopback in development": (policy(allows_loopback=True), "::1", "", True),
    "IPv6 loopback with a scope in development": (policy(allows_loopback=True), "::1%lo", "", True),
    "IPv4-mapped loopback in development": (policy(allows_loopback=True), "::ffff:7f00:1", "", True),
    "IPv4-compatible loopback in development": (policy(allows_loopback=True), "::127.0.0.1", "", False),
    "this host in development": (policy(allows_loopback=True), "0.0.0.0", "", False),
    "private networks in development": (policy(allows_loopback=True), "10.0.0.1", "", False),
    "metadata in development": (policy(allows_loopback=True), "169.254.169.254", "", False),
}


@pytest.mark.parametrize(("exceptions", "address", "host", "passes"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_an_exception_lifts_the_address_rule_for_what_it_names_and_nothing_else(exceptions, address, host, passes):
    said = refusal(address, 443, policy=exceptions, host=host)

    assert (said is None) is passes
    assert refusal(address, 443, policy=STRICT, host=host) is not None


@pytest.mark.parametrize(
    ("exceptions", "address"),
    [
        pytest.param(policy("10.0.0.0/8"), "10.1.2.3", id="by network"),
        pytest.param(policy(hosts=("ci.internal",)), "10.1.2.3", id="by host"),
        pytest.param(policy(allows_loopback=True), "127.0.0.1", id="loopback"),
    ],
)
def test_no_exception_lifts_the_port_rule(exceptions, address):
    assert refusal(address, 8080, policy=exceptions, host="ci.internal") is None

    assert refusal(address, 6379, policy=exceptions, host="ci.internal") == (
        f"Connections to port 6379 of {address} are not allowed: Redis usually listens there. No setting changes this."
    )
    assert refusal(address, 22, policy=exceptions, host="ci.internal") == (
        f"Connections to port 22 of {address} are not allowed: webhooks can use only ports 80, 443 and 1024 to 65535. "
        "No setting changes this."
    )


@pytest.mark.parametrize("port", [80, 443, 1024, 3000, 5000, 8000, 8080, 8123, 8443, 9000, 32768, 65535])
def test_a_port_where_receivers_run_may_be_dialled(port):
    assert port_refusal(port, subject="example.com") is None
    assert refusal("93.184.216.34", port, policy=STRICT) is None


@pytest.mark.parametrize("port", [-1, 0, 1, 21, 22, 25, 53, 79, 81, 442, 444, 1023, 65536, 99999])
def test_any_other_low_or_impossible_port_is_refused(port):
    said = (
        f"Connections to port {port} of 93.184.216.34 are not allowed: webhooks can use only ports 80, 443 and 1024 "
        "to 65535. No setting changes this."
    )

    assert port_refusal(port, subject="93.184.216.34") == said
    assert refusal("93.184.216.34", port, policy=STRICT) == said


@pytest.mark.parametrize(("port", "service"), SERVICE_PORTS.items())
def test_a_well_known_service_is_refused_by_name(port, service):
    assert refusal("93.184.216.34", port, policy=STRICT) == (
        f"Connections to port {port} of 93.184.216.34 are not allowed: {service} usually listens there. "
        "No setting changes this."
    )


def test_the_well_known_services_hold_the_ones_attackers_try_first():
    assert {2375, 2376, 2379, 2380, 3306, 5432, 5984, 6379, 6443, 8500, 9200, 9300, 10250, 11211, 27017} <= set(
        SERVICE_PORTS
    )


def test_the_well_known_services_keep_clear_of_the_ports_systems_hand_out_at_random():
    assert min(SERVICE_PORTS) >= 1024
    assert max(SERVICE_PORTS) < 32768


@settings(deadline=None)  # Must not fail on a busy machine.
@given(number=st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_by_the_list_however_it_is_wrapped(number):
    address = IPv4Address(number)
    listed = any(address in ip_network(row[0]) for row in RANGES if "." in row[0])

    assert (refusal(str(address), 443, policy=STRICT) is not None) is listed
    assert (refusal(f"::ffff:{address}", 443, policy=STRICT) is not None) is listed


@settings(deadline=None)
@given(number=st.integers(0, 2**128 - 1) | st.integers(0x2000 << 112, (0x4000 << 112) - 1))
def test_an_ipv6_address_passes_only_within_global_unicast_and_off_the_list(number):
    address = IPv6Address(number)
    judged = address.ipv4_mapped or address
    networks = [ip_network(row[0]) for row in RANGES]
    listed = any(judged in network for network in networks if network.version == judged.version)
    outside = judged.version == 6 and judged not in ip_network("2000::/3")

    assert (refusal(str(address), 443, policy=STRICT) is not None) is (listed or outside)


@settings(deadline=None)
@given(address=st.text(), host=st.text(), port=st.integers())
def test_no_text_makes_the_guard_stumble(address, host, port):
    said = refusal(address, port, policy=STRICT, host=host)

    assert said is None or said.isascii()
