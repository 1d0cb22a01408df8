"""Response headers for browsers (content security policy, permissions, caching), and the expiry of sessions."""

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]

# Scripts and styles are static files and never inline. The browsable API's templates have style attributes, which can
# only style their own element.
POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    # Only for the framework's "Log out" link: the hash is of its onclick.
    "script-src-attr": "'unsafe-hashes' 'sha256-tHTC1YgZ5UbAs8E2Ib4NjuSS8R05d1nfPHtbmXq05WA='",
    "style-src": "'self'",
    "style-src-attr": "'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
OF_STATIC_FILES = frozenset({"script-src", "style-src", "img-src", "font-src"})
# Swagger UI and the browsable API's syntax highlighting use style elements.
API, API_POLICY = "/v1/", {**POLICY, "style-src": "'self' 'unsafe-inline'"}
PERMISSIONS = ", ".join(
    f"{name}=()"
    for name in (
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "microphone",
        "payment",
        "usb",
        "browsing-topics",
    )
)

BEGAN, SEEN = "hookhub_began", "hookhub_seen"
# Seconds; often enough to detect idleness, rarely enough not to write a session with every request.
SEEN_EVERY = 60.0


def written(policy: Mapping[str, str]) -> str:
    """Return a policy as a header value, with the host of the static files if that is another one."""
    static = urlsplit(settings.STATIC_URL or "")
    more = f" {static.scheme}://{static.netloc}".replace(" ://", " ") if static.netloc else ""
    return "; ".join(f"{name} {sources}{more if name in OF_STATIC_FILES else ''}" for name, sources in policy.items())


def protect_pages(get_response: Handler) -> Handler:
    """Set the security headers that Django does not set, unless the view has set them."""
    usual, of_api = written(POLICY), written(API_POLICY)

    def answer(request: HttpRequest) -> HttpResponse:
        answered = get_response(request)
        answered.headers.setdefault("Content-Security-Policy", of_api if request.path_info.startswith(API) else usual)
        answered.headers.setdefault("Permissions-Policy", PERMISSIONS)
        if not request.path_info.startswith(settings.STATIC_URL or "/static/"):
            answered.headers.setdefault("Cache-Control", "no-store")
        return answered

    return answer


def end_sessions(get_response: Handler) -> Handler:
    """End a session that is older, or has been idle longer, than the settings allow."""

    def answer(request: HttpRequest) -> HttpResponse:
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
        if has_session and SESSION_KEY in request.session:
            now = time.time()
            began, seen = request.session.get(BEGAN, now), request.session.get(SEEN, now)
            is_over = now - began > settings.SESSION_COOKIE_AGE
            if is_over or now - seen > settings.HOOKHUB_SESSION_IDLE.total_seconds():
                request.session.flush()
            elif now - seen > SEEN_EVERY:
                request.session[SEEN] = now
        answered = get_response(request)
        # Check only a session that was used, so that requests without one do not query the database for it.
        if request.session.accessed and SESSION_KEY in request.session and BEGAN not in request.session:
            request.session[BEGAN] = request.session[SEEN] = time.time()
        return answered

    return answer
