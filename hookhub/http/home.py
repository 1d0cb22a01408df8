"""The front page: for people whether all is well and where to go; programs are sent on to the API."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hookhub.http import documentation, links, readiness

WELL, WARNING, BAD = "well", "warning", "bad"


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Respond with the page to browsers, with a redirect to `/v1/` to others."""
    if "text/html" not in request.headers.get("Accept", ""):
        return redirect("root")
    verdict, tone = assess()
    context = {
        "verdict": verdict,
        "tone": tone,
        "public_url": links.public_url(request),
        "admin_address": links.admin_page(),
        "has_documentation": (settings.DEBUG or settings.HOOKHUB_DEVELOPMENT) and documentation.SITE.is_dir(),
    }
    return render(request, "hookhub/home.html", context)


def assess() -> tuple[str, str]:
    """Return one sentence that says whether events are accepted and delivered, with its tone."""
    status, report = readiness.ready()
    if status != 200:
        return f"Events are not accepted: {report['reason']}.", BAD
    if "warning" in report:
        return str(report["warning"]), WARNING
    if report["workers"] is None:
        return "Events are accepted; the workers could not be counted.", WARNING
    alive = report["workers"]["alive"]
    workers = "1 worker delivers" if alive == 1 else f"{alive} workers deliver"
    return f"All is well: events are accepted, and {workers} them.", WELL
