"""The upper baseline: the same bodies sent to the same receiver by a bare libcurl loop without a database.

Run as `python -m bench.baseline_libcurl URL COUNT BYTES`; prints requests per second.
"""

import json
import sys
import time
from uuid import uuid4

import pycurl

from bench.load import payload
from deliveries.version import USER_AGENT

IN_FLIGHT = 128


def measure(url: str, *, count: int, size: int) -> float:
    """Send ``count`` POST requests, ``IN_FLIGHT`` at a time, and return the rate in requests per second."""
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, 2 * IN_FLIGHT)
    body = b'{"type":"push","timestamp":"2026-01-01T00:00:00.000Z","data":%s}' % json.dumps(payload(size)).encode()
    idle = []
    for _ in range(IN_FLIGHT):
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        idle.append(curl)
    begun = ended = 0
    started = time.monotonic()
    while ended < count:
        while idle and begun < count:
            curl = idle.pop()
            curl.setopt(
                pycurl.HTTPHEADER,
                ["Content-Type: application/json", "Expect:", f"User-Agent: {USER_AGENT}",
                 f"webhook-id: {uuid4()}", "webhook-timestamp: 1767225600",
                 "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
            )  # fmt: skip
            curl.setopt(pycurl.POSTFIELDS, body)
            multi.add_handle(curl)
            begun += 1
        multi.perform()
        more = 1
        while more:
            more, good, bad = multi.info_read()
            if bad:
                raise RuntimeError(f"a request failed: {bad[0][2]}")
            for curl in good:
                multi.remove_handle(curl)
                idle.append(curl)
            ended += len(good)
        multi.select(0.1)
    return count / (time.monotonic() - started)


def main() -> None:
    url, count, size = sys.argv[1:]
    print(measure(url, count=int(count), size=int(size)))


if __name__ == "__main__":
    main()
