"""The story in Python, by the synchronous client."""

import json
import os
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread

from hookhub_client import Client, Event, HookHubError, verify

STORY = os.environ["STORY"]
PAID, POLLED = f"{STORY}.paid", f"{STORY}.polled"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
got: "Queue[tuple[bytes, object]]" = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        got.put((self.rfile.read(int(self.headers["Content-Length"])), self.headers))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
Thread(target=receiver.serve_forever, daemon=True).start()
told = {}

with Client(os.environ["HOOKHUB_URL"], os.environ["HOOKHUB_API_KEY"]) as hookhub:
    webhook = hookhub.webhooks.create(f"http://127.0.0.1:{receiver.server_port}/", events=[PAID])
    receipts = [hookhub.publish(PAID, {"id": 42}, id=f"{STORY}-42") for _ in range(2)]
    told["replayed"] = [receipt.replayed for receipt in receipts]

    body, headers = got.get(timeout=60)
    received = verify(body, headers, secrets=webhook["secret"], format="standard-webhooks")
    told["received"] = [received.type, received.data]

    told["batch"] = len(hookhub.publish_batch(Event(PAID, {"id": n}) for n in range(5)))
    found: "dict[str, str]" = {}
    until = time.monotonic() + 60
    while list(found.values()) != ["delivered"] * 6 and time.monotonic() < until:
        time.sleep(0.1)
        found = {one["id"]: one["state"] for one in hookhub.deliveries.list(webhook=webhook["id"], page_size=2)}
    told["delivered"] = len(found)
    told["is the delivery"] = received.id in found

    try:
        hookhub.publish("not a type", {})
    except HookHubError as error:
        told["error"] = [error.status, error.code, error.fields[0][0]]

    told["throttled"] = hookhub.publish(PAID, {"throttle": STORY}).type

    queue = hookhub.webhooks.create(events=[POLLED], settings={"kind": "poll"})
    hookhub.publish(POLLED, {"id": 43}, trace={"traceparent": TRACE})
    page = hookhub.webhooks.poll(queue["id"], consumer="story", wait=timedelta(seconds=20))
    polled = page["events"][0]
    event = verify(polled["body"].encode(), polled["headers"], secrets=queue["secret"], format="standard-webhooks")
    hookhub.webhooks.commit(queue["id"], "story", page["cursor"])
    told["trace"] = polled["headers"]["traceparent"]
    told["polled"] = [event.data, [consumer["behind"] for consumer in hookhub.webhooks.consumers(queue["id"])]]
    hookhub.webhooks.delete(queue["id"])

    key = hookhub.api_keys.create(scope="publish", name=STORY)
    with Client(os.environ["HOOKHUB_URL"], key["key"], retries=0) as other:
        other.publish(PAID, None)
        hookhub.api_keys.revoke(key["id"])
        try:
            other.publish(PAID, None)
        except HookHubError as error:
            told["revoked"] = error.status

    hookhub.webhooks.delete(webhook["id"])
    try:
        hookhub.webhooks.get(webhook["id"])
    except HookHubError as error:
        told["deleted"] = error.status

print(json.dumps(told))
