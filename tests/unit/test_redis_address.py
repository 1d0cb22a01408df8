"""Which URLs name Sentinels, and what HookHub and Celery make of them."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from deliveries.redis_address import sentinels_of, tls_of
from hookhub.service.connections import broker, broker_tls

# By label: the URL, the Sentinels, the service, and some options of the servers.
NAMED = {
    "one": ("sentinel://one/main", (("one", 26379),), "main", {"db": 0}),
    "several, with a password": (
        "redis+sentinel://:p%40ss@one:1,two,[::1]:3/main/2",
        (("one", 1), ("two", 26379), ("::1", 3)),
        "main",
        {"db": 2, "password": "p@ss"},
    ),
    "with a user and an option": (
        "redis+sentinel://user:pass@one/main?health_check_interval=5",
        (("one", 26379),),
        "main",
        {"db": 0, "username": "user", "password": "pass", "health_check_interval": 5},
    ),
}


@pytest.mark.parametrize(("url", "nodes", "service", "options"), NAMED.values(), ids=NAMED)
def test_sentinels_are_read(
    url: str, nodes: tuple[tuple[str, int], ...], service: str, options: dict[str, object]
) -> None:
    found = sentinels_of(url)

    assert found is not None
    assert (found.nodes, found.service, found.is_tls) == (nodes, service, False)
    assert {name: found.options.get(name) for name in options} == options
    assert not {"host", "port"} & found.options.keys()
    assert broker(url) == "sentinel://"
    assert broker_tls(url) is None


def test_the_sentinels_have_a_password_of_their_own_and_the_same_authority() -> None:
    url = "rediss+sentinel://:of-servers@one/main?sentinel_password=of-sentinels&ssl_ca_certs=/ca.pem"

    found = sentinels_of(url)

    assert found is not None
    assert (found.options["password"], found.own_options["password"]) == ("of-servers", "of-sentinels")
    assert found.options["ssl_ca_certs"] == found.own_options["ssl_ca_certs"] == "/ca.pem"
    assert (found.is_tls, found.own_options["ssl"]) == (True, True)
    assert broker_tls(url) == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://", "sentinel:///main", "sentinel://one", "sentinel://one/", "sentinel://one/main/x",
        "sentinel://one:port/main", "sentinel://,/main", "sentinel://:secret@/main",
    ],
)  # fmt: skip
def test_an_address_without_hosts_or_a_service_is_an_error_that_keeps_the_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL is invalid") as caught:
        broker(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected", "tls"),
    [
        ("redis://:p@host:1/2", "redis://:p@host:1/2", None),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3", None),
        ("rediss://host:1/2", "rediss://host:1/2", {"ssl_cert_reqs": "required"}),
        (
            "rediss://host:1/2?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            "rediss://host:1/2",
            {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
        ),
    ],
)
def test_celery_gets_the_url_of_a_server_and_its_tls_options(
    url: str, expected: str, tls: dict[str, object] | None
) -> None:
    assert (broker(url), broker_tls(url)) == (expected, tls)


@pytest.mark.parametrize("url", ["nonsense", "redis.internal:6379", "amqp://host", "redis://:pass/word@host", "redis"])
def test_what_is_no_redis_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL is not the URL of a Redis: redis://, ") as caught:
        broker(url)

    assert "pass" not in str(caught.value)


def test_the_url_of_a_server_names_no_sentinels() -> None:
    assert sentinels_of("rediss://one,two:1/main") is None
    assert tls_of("redis://one") is None
