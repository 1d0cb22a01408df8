"""The story in Python, by the asynchronous client."""

import asyncio
import json
import os
from datetime import timedelta

from hookhub_client import AsyncClient, Event, HookHubError, verify

STORY = os.environ["STORY"]
PAID, POLLED = f"{STORY}.paid", f"{STORY}.polled"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def main() -> None:
    got: asyncio.Queue[tuple[bytes, list[list[str]]]] = asyncio.Queue()
    told = {}

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = [line.split(": ", 1) for line in lines[1:] if line]
        length = next(int(value) for name, value in headers if name.lower() == "content-length")
        await got.put((await reader.readexactly(length), headers))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = receiver.sockets[0].getsockname()[1]
    async with AsyncClient(os.environ["HOOKHUB_URL"], os.environ["HOOKHUB_API_KEY"]) as hookhub:
        webhook = await hookhub.webhooks.create(f"http://127.0.0.1:{port}/", events=[PAID])
        receipts = [await hookhub.publish(PAID, {"id": 42}, id=f"{STORY}-42") for _ in range(2)]
        told["replayed"] = [receipt.replayed for receipt in receipts]

        body, headers = await asyncio.wait_for(got.get(), 60)
        received = verify(body, headers, secrets=webhook["secret"], format="standard-webhooks")
        told["received"] = [received.type, received.data]

        told["batch"] = len(await hookhub.publish_batch(Event(PAID, {"id": n}) for n in range(5)))
        found: dict[str, str] = {}
        for _ in range(600):
            if list(found.values()) == ["delivered"] * 6:
                break
            await asyncio.sleep(0.1)
            rows = hookhub.deliveries.list(webhook=webhook["id"], page_size=2)
            found = {one["id"]: one["state"] async for one in rows}
        told["delivered"] = len(found)
        told["is the delivery"] = received.id in found

        try:
            await hookhub.publish("not a type", {})
        except HookHubError as error:
            told["error"] = [error.status, error.code, error.fields[0][0]]

        told["throttled"] = (await hookhub.publish(PAID, {"throttle": STORY})).type

        queue = await hookhub.webhooks.create(events=[POLLED], settings={"kind": "poll"})
        await hookhub.publish(POLLED, {"id": 43}, trace={"traceparent": TRACE})
        page = await hookhub.webhooks.poll(queue["id"], consumer="story", wait=timedelta(seconds=20))
        polled = page["events"][0]
        event = verify(polled["body"].encode(), polled["headers"], secrets=queue["secret"], format="standard-webhooks")
        await hookhub.webhooks.commit(queue["id"], "story", page["cursor"])
        told["trace"] = polled["headers"]["traceparent"]
        told["polled"] = [event.data, [one["behind"] for one in await hookhub.webhooks.consumers(queue["id"])]]
        await hookhub.webhooks.delete(queue["id"])

        key = await hookhub.api_keys.create(scope="publish", name=STORY)
        async with AsyncClient(os.environ["HOOKHUB_URL"], key["key"], retries=0) as other:
            await other.publish(PAID, None)
            await hookhub.api_keys.revoke(key["id"])
            try:
                await other.publish(PAID, None)
            except HookHubError as error:
                told["revoked"] = error.status

        await hookhub.webhooks.delete(webhook["id"])
        try:
            await hookhub.webhooks.get(webhook["id"])
        except HookHubError as error:
            told["deleted"] = error.status
    receiver.close()
    print(json.dumps(told))


asyncio.run(main())
