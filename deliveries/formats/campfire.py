"""Campfire's rooms: what happened, in one line of plain text."""

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, Verdict
from deliveries.formats.summary import Summary, summarise
from deliveries.formats.text import fit

LINE_MOST, URL_MOST = 1000, 1000

# A token that was revoked stays so, and a room that is gone does not come back under its number.
VERDICTS: dict[int, Verdict] = {401: "gone", 403: "gone", 404: "gone"}


class Campfire(Format):
    """Nothing is signed: the token goes along as the user name of Basic, in a header of the owner's."""

    slug = "campfire"
    title = "Campfire"
    own_headers = frozenset({"content-type", "user-agent"})
    signs = "never"

    def render(self, message: Message) -> Rendered:
        said = {"message": {"type": "TextMessage", "body": write(summarise(message))}}
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", "HookHub/1.0")),
            body=encode(said),
        )

    def judge(self, status: int, body: bytes = b"") -> Verdict | None:
        del body
        return VERDICTS.get(status)


def write(said: Summary) -> str:
    """Write a summary as one line, for of several lines Campfire makes a block in which no link is one."""
    told = ": ".join(part for part in (said.headline, said.title) if part)
    line = fit(" ".join(f"[{said.place}] {told}".split()), LINE_MOST, escape=str)
    return f"{line} {said.url}" if said.url and len(said.url) <= URL_MOST else line
