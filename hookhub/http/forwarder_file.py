"""`/listen.py`: the program that forwards events to a developer's machine, which has nothing else of HookHub's."""

from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hookhub import forwarding

NAME = "listen.py"


@require_safe
def forwarder_file(_request: HttpRequest) -> HttpResponse:
    """Return the program as a file."""
    content = Path(forwarding.__file__).read_bytes()
    headers = {"Content-Disposition": f'attachment; filename="{NAME}"'}
    return HttpResponse(content, content_type="text/x-python; charset=utf-8", headers=headers)
