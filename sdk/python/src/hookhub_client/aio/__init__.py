"""The asynchronous client; needs ``httpx``.

    async with AsyncClient("https://hooks.example.org", "hh_…") as hookhub:
        await hookhub.publish("push", {"ref": "refs/heads/main"}, repository="acme/widgets")

It has the methods of ``hookhub_client.Client``, which is generated from it. Tasks may share it, and event loops
that run one after the other.
"""

from hookhub_client.aio.client import AsyncClient
from hookhub_client.aio.replays import Replay

__all__ = ["AsyncClient", "Replay"]
