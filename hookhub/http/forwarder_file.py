"""`/listen.py`: the program that forwards events to a developer's machine, which has nothing else of HookHub's."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hookhub.forwarding.one_file import one_file

NAME = "listen.py"


@require_safe
def forwarder_file(_request: HttpRequest) -> HttpResponse:
    """Return the program as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{NAME}"'}
    return HttpResponse(_content(), content_type="text/x-python; charset=utf-8", headers=headers)


@cache
def _content() -> bytes:
    return one_file().encode()
