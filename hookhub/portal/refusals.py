"""The page for a request that is refused before any page of the portal is chosen, or that fails."""

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hookhub.portal.access import notice


class Refusal(NamedTuple):
    """What a page says: what is the matter, and what to do."""

    title: Promise
    advice: Promise


UNREADABLE = Refusal(
    _("This request cannot be read"),
    _("Its address, or what a form has sent, is too long or has characters that cannot be stored. Go back, and try "
      "again from there."),
)  # fmt: skip
BROKEN = Refusal(
    _("Something went wrong"), _("This is a fault of ours, and it has been recorded. Try again in a moment.")
)
REFUSALS = {
    400: UNREADABLE,
    422: UNREADABLE,
    403: Refusal(_("This form cannot be used"), _("It is out of date. Go back, reload the page, and try again.")),
    404: Refusal(_("There is nothing here"), _("Go back to where you came from.")),
    405: Refusal(
        _("This address is not a page"), _("It is what a form is sent to. Go back, and try again from there.")
    ),
    413: Refusal(_("This is too long"), _("Nothing was changed. Go back, and send less.")),
    429: Refusal(_("Too many requests in a short time"), _("Nothing was changed now. Try again in a minute.")),
    503: Refusal(_("This is not available now"), _("Nothing was changed. Try again in a moment.")),
}
# What belongs to the content of a response, and is the page's own.
OWN = frozenset({"content-type", "content-length", "content-security-policy", "cache-control", "x-frame-options"})


def as_page(request: HttpRequest, refused: HttpResponse) -> HttpResponse:
    """Return the page that says the same as a response meant for programs, or as an empty one."""
    said = REFUSALS.get(refused.status_code, UNREADABLE if refused.status_code < 500 else BROKEN)
    more = {"title": said.title, "advice": said.advice}
    shown = notice(request, None, "refusal.html", status=refused.status_code, more=more)
    for name, value in refused.headers.items():
        if name.lower() not in OWN:
            shown.headers[name] = value
    shown.headers.setdefault("X-Content-Type-Options", "nosniff")
    return shown
