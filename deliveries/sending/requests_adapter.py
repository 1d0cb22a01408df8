"""A ``requests`` session for single calls to receivers, sent by the same sender and checked by the same SSRF guard."""

from collections.abc import Hashable
from datetime import timedelta
from email.message import Message as HeaderBlock
from io import BytesIO

import requests
from django.conf import settings
from requests.adapters import BaseAdapter
from requests.utils import get_encoding_from_headers

from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Request
from deliveries.sending.exchange import Response as Reply
from deliveries.sending.sender import make_sender


class SafeAdapter(BaseAdapter):
    """A ``requests`` transport adapter that sends each call with its own single-slot Sender."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests' own
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 - the signature is requests' own
        cert: object = None,
        proxies: object = None,
    ) -> requests.Response:
        """Send one request and return its response. Raise requests.ConnectionError or requests.Timeout."""
        body = request.body or b""
        # The sender has a single deadline, so the connect and read timeouts are added.
        limit = sum(part or 0 for part in timeout) if isinstance(timeout, tuple) else timeout
        sender = make_sender(slots=1)
        try:
            sender.start(
                Request(
                    url=request.url or "",
                    headers=tuple((name, str(value)) for name, value in request.headers.items()),
                    body=body.encode() if isinstance(body, str) else bytes(body),
                    timeout=timedelta(seconds=limit) if limit else settings.HOOKHUB_TIMEOUT,
                    verify_ssl=verify is not False,
                    method=request.method or "GET",
                ),
                token=None,
            )
            ended: list[tuple[Hashable, Exchange]] = []
            while not ended:
                ended = sender.wait(timedelta(seconds=1))
        finally:
            sender.close()
        return self._translate(request, ended[0][1])

    def close(self) -> None:
        """Do nothing: no connection stays open between calls."""

    @staticmethod
    def _translate(request: requests.PreparedRequest, exchange: Exchange) -> requests.Response:
        match exchange.result:
            case NoResponse("timeout", error):
                raise requests.Timeout(error, request=request)
            case NoResponse(_, error):
                raise requests.ConnectionError(error, request=request)
            case Reply() as reply:
                response = requests.Response()
                response.status_code, response.reason = reply.status, reply.reason
                response.headers.update(_joined(reply.headers))
                response.encoding = get_encoding_from_headers(response.headers)
                response.raw = BytesIO(reply.body)
                response.url, response.request = request.url or "", request
                response.elapsed = exchange.duration
                return response


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the headers as a mapping; the values of repeated headers are joined with commas."""
    block = HeaderBlock()
    for name, value in headers:
        block.add_header(name, value)
    return {name: ", ".join(block.get_all(name, [])) for name in block}


class _Session(requests.Session):
    """A session that follows no redirect, as deliveries do not."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that a redirect is the final response."""


def session() -> requests.Session:
    """Return a ``requests`` session for single calls to receivers; it follows no redirects and ignores proxies."""
    made = _Session()
    made.trust_env = False
    # The sender does not decompress responses.
    made.headers["Accept-Encoding"] = "identity"
    made.mount("http://", SafeAdapter())
    made.mount("https://", SafeAdapter())
    return made
