"""Single calls to receivers in the vocabulary of ``requests``, through the same sender and past the same guard."""

from collections.abc import Hashable
from datetime import timedelta
from email.message import Message as HeaderBlock
from io import BytesIO

import requests
from django.conf import settings
from requests.adapters import BaseAdapter
from requests.utils import get_encoding_from_headers

from deliveries.outcomes import Lost
from deliveries.sender import make_sender
from deliveries.transfer import Exchange, Reply, Request


class GuardedAdapter(BaseAdapter):
    """Lets ``requests`` make single calls through the same sender, and so past the same guard."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests' own
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 - the signature is requests' own
        cert: object = None,
        proxies: object = None,
    ) -> requests.Response:
        """Make one call; raises requests' own ConnectionError or Timeout."""
        del stream, cert, proxies
        body = request.body or b""
        # Ours is one deadline for everything, so what is allowed for connecting and for reading adds up.
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
        """Nothing stays open between calls."""

    @staticmethod
    def _translate(request: requests.PreparedRequest, exchange: Exchange) -> requests.Response:
        match exchange.result:
            case Lost("timeout", error):
                raise requests.Timeout(error, request=request)
            case Lost(_, error):
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
    """Join headers that came more than once, as a mapping must."""
    block = HeaderBlock()
    for name, value in headers:
        block.add_header(name, value)
    return {name: ", ".join(block.get_all(name, [])) for name in block}


class _Session(requests.Session):
    """Takes a redirect for the answer that it is, as deliveries do."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Lead nowhere."""
        del resp


def session() -> requests.Session:
    """Give a ``requests`` session for single calls to receivers; it follows no redirect."""
    made = _Session()
    made.trust_env = False
    # The sender unpacks nothing, so nothing is to be packed.
    made.headers["Accept-Encoding"] = "identity"
    made.mount("http://", GuardedAdapter())
    made.mount("https://", GuardedAdapter())
    return made
