"""Addresses that lead nowhere, answered in the shape that the caller's system has for it."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from hookhub.api import errors

# The first words of GitHub's paths at which HookHub has nothing.
GITHUB = frozenset(
    {
        "app", "applications", "emojis", "enterprises", "feeds", "gists", "gitignore", "installation", "installations",
        "issues", "licenses", "markdown", "meta", "networks", "notifications", "octocat", "organizations", "orgs",
        "rate_limit", "repos", "repositories", "search", "teams", "user", "users", "versions", "zen",
    }
)  # fmt: skip


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer for an address that leads nowhere, as the API does whose clients call such addresses."""
    if is_of_github(request):
        return JsonResponse({"message": "Not Found"}, status=404)
    if request.path_info.startswith("/api/"):
        return JsonResponse({"error": "Not found"}, status=404)
    return errors.not_found(request, exception)


def is_of_github(request: HttpRequest) -> bool:
    """Return whether a request is one of a client of GitHub's API."""
    if request.path_info.startswith(("/v1/", "/admin/")):
        return False
    first = request.path_info.split("/")[1]
    return (
        first in GITHUB
        or f"{request.path_info}/".startswith("/api/v3/")
        or "vnd.github" in request.headers.get("Accept", "")
    )
