"""The errors that the clients raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .events import PublishedEvent


class HookHubError(Exception):
    """The API rejected a request, or gave no usable response; ``str()`` states the reason and a remedy.

    ``status`` is the HTTP status (int), or None when no response arrived. ``code`` and ``message`` (str) are the API's,
    or the client's own: ``connection_failed``, ``redirected``, ``not_hookhub`` (a successful response that is not the
    API's), ``unknown`` (an error response that is not the API's). ``fields`` is a tuple of (field, message) pairs, one
    for each invalid field. ``published`` is a tuple of the PublishedEvents that were accepted before a batch failed.
    """

    def __init__(
        self, message: str, *, status: int | None, code: str, fields: Sequence[tuple[str, str]] = (), advice: str = ""
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.fields = tuple(fields)
        self.published: tuple[PublishedEvent, ...] = ()
        said = f"{message.rstrip('.')}." if message else ""
        listed = "".join(f" {field}: {text.rstrip('.')}." for field, text in self.fields)
        origin = f"HookHub answered {status} {code}: " if status is not None else ""
        super().__init__(f"{origin}{said}{listed} {advice}".strip())

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to pickle it, which a pool of processes does: the text alone is not what it is made of."""
        return _unpickled, (type(self), self.args, self.__dict__)


class ConnectionFailed(HookHubError):
    """No response arrived: HookHub is unreachable, or did not answer within the timeout."""


def _unpickled(kind: type[HookHubError], args: tuple[str, ...], state: dict[str, Any]) -> HookHubError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
