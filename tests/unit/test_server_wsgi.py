"""The limits under other WSGI servers."""

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hookhub.server.limits import Limits
from hookhub.server.wsgi import Limited

HEAD = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/webhooks", "SERVER_PROTOCOL": "HTTP/1.1"}
CHUNKED = {**HEAD, "HTTP_TRANSFER_ENCODING": "chunked"}
LOGIN = {**HEAD, "PATH_INFO": "/admin/login/"}
UPLOAD = {**HEAD, "CONTENT_TYPE": "multipart/form-data"}


class Called:
    """Records the body that the application read, and the status that was sent."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.status = ""

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [])
        return []

    def answer(self, environ: dict[str, Any]) -> bytes:
        limited = Limited(self.application, limits=Limits(publish=1_000_000))
        return b"".join(limited(environ, lambda status, headers: setattr(self, "status", status)))


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        pytest.param({**HEAD, "CONTENT_LENGTH": "65537"}, "413 Request Entity Too Large", id="too long"),
        pytest.param({**LOGIN, "CONTENT_LENGTH": "4097"}, "413 Request Entity Too Large", id="login"),
        pytest.param({**UPLOAD, "CONTENT_LENGTH": "1"}, "415 Unsupported Media Type", id="upload"),
        pytest.param(CHUNKED, "411 Length Required", id="chunks without an end"),
        pytest.param({**CHUNKED, "wsgi.input_terminated": True}, "413 Request Entity Too Large", id="chunks too long"),
    ],
)
def test_what_is_refused_never_reaches_the_application(environ: dict[str, Any], status: str) -> None:
    called = Called()

    content = called.answer({**environ, "wsgi.input": io.BytesIO(b"x" * 70_000)})

    assert (called.status, called.body) == (status, None)
    assert json.loads(content)["error"]["fields"] == []


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": ""}], ids=["no length", "an empty length"])
def test_a_body_in_chunks_is_handed_over_with_its_length_where_the_server_marks_its_end(length: dict[str, str]) -> None:
    called = Called()

    called.answer({**CHUNKED, **length, "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"abc")})

    assert (called.status, called.body) == ("200 OK", b"abc")
