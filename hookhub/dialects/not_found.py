"""Answers unknown paths in the error format of the API that the caller uses."""

import re

from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.response import Response

from hookhub.http import errors

# First segments of the paths of GitHub's API.
GITHUB = frozenset(
    {
        "app", "applications", "emojis", "enterprises", "feeds", "gists", "gitignore", "hooks", "hub", "installation",
        "installations", "issues", "licenses", "markdown", "meta", "networks", "notifications", "octocat", "orgs",
        "organizations", "rate_limit", "repos", "repositories", "search", "teams", "user", "users", "versions", "zen",
    }
)  # fmt: skip
# The addresses of the hub's topics.
TOPIC = re.compile(r"/[^/]+/[^/]+/events/[^/]+")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the 404 for an unknown path, in the format of the API whose clients call such paths."""
    if is_of_github(request):
        return JsonResponse({"message": "Not Found"}, status=404)
    if request.path_info.startswith("/api/"):
        return JsonResponse({"error": "Not found"}, status=404)
    return errors.not_found(request, exception)


def in_callers_format(request: HttpRequest, refusal: Response) -> HttpResponse:
    """Convert an error raised before any view to the format of the API whose path was called."""
    error = refusal.data["error"]
    if is_of_github(request):
        refusal.data = {"message": error["message"]}
    elif request.path_info.startswith("/api/"):
        sentences = [f"{row['field']}: {row['message']}" for row in error["fields"]]
        refusal.data = {"error": "; ".join(sentences) or error["message"]}
    return errors.as_plain(refusal)


def is_of_github(request: HttpRequest) -> bool:
    """Return whether a request comes from a client of GitHub's API."""
    if request.path_info.startswith(("/v1/", "/admin/")):
        return False
    # The path of "OPTIONS *" has no slash.
    first = request.path_info.removeprefix("/").partition("/")[0]
    return (
        first in GITHUB
        or TOPIC.fullmatch(request.path_info) is not None
        or f"{request.path_info}/".startswith(("/api/v3/", "/api/graphql/"))
        or "vnd.github" in request.headers.get("Accept", "")
    )
