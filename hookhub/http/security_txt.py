"""Serves `/.well-known/security.txt` (RFC 9116): where to report a vulnerability of this deployment."""

from datetime import datetime, timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from deliveries import timezone
from hookhub.http.links import public_url

VALID_FOR = timedelta(days=180)


def security_txt(request: HttpRequest) -> HttpResponse:
    """Return the deployment's security contacts; raise Http404 if none is configured."""
    if not settings.HOOKHUB_SECURITY_CONTACT:
        raise Http404
    content = written(settings.HOOKHUB_SECURITY_CONTACT, public_url=public_url(request), now=timezone.now())
    return HttpResponse(content, content_type="text/plain")


def written(contacts: tuple[str, ...], *, public_url: str, now: datetime) -> str:
    """Return the file's content, which expires VALID_FOR after ``now``."""
    lines = [f"Contact: {contact}" for contact in contacts]
    lines += [f"Expires: {now + VALID_FOR:%Y-%m-%dT00:00:00Z}", "Preferred-Languages: en"]
    lines.append(f"Canonical: {public_url}/.well-known/security.txt")
    return "\n".join(lines) + "\n"
