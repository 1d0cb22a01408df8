"""The receiver of the fault harness: a separate process that logs each request before it answers.

`python -m chaos.workload.receiver LOG` prints its port. Each line on its standard input is a JSON object with any of
"secrets" (by path), "script", "seed" and "begun_at", and is answered by a line. When the input is closed, the receiver
ends.
"""

import asyncio
import hashlib
import json
import os
import re
import socket
import struct
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from standardwebhooks import Webhook

from chaos.workload.behaviour import SLOW_SECONDS, Script, answer_to, from_json

DRIP_EVERY_SECONDS = 0.2
# Longer than any deadline, so that the client hangs up first.
HANG_SECONDS = 60
REASONS = {"200": "OK", "500": "Internal Server Error", "410": "Gone"}
KEY = re.compile(rb'"k" ?: ?"([^"]+)"')


class Receiver:
    """One event loop; of HookHub it knows only the secrets, of the scenario only its script."""

    def __init__(self, log: int) -> None:
        self.log = log
        self.script: Script = {}
        self.verifiers: dict[str, Webhook] = {}
        self.seed = 0
        self.begun_at = time.time()
        self.seen: Counter[tuple[str, str]] = Counter()

    def learn(self, message: dict[str, Any]) -> None:
        """Store what the harness sent."""
        self.verifiers |= {path: Webhook(secret) for path, secret in message.get("secrets", {}).items()}
        self.script = from_json(message["script"]) if "script" in message else self.script
        self.seed = message.get("seed", self.seed)
        self.begun_at = message.get("begun_at", self.begun_at)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, headers = read_head(head)
                body = await reader.readexactly(length_of_body(headers))
                if not await self.answer(writer, self.take(path, headers, body)):
                    break
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """Log a request together with the answer it is going to get; return that answer."""
        at = time.time()
        delivery = headers.get("webhook-id", "")
        self.seen[path, delivery] += 1
        nth = self.seen[path, delivery]
        since = at - self.begun_at
        answer = answer_to(self.script, path, delivery=delivery, nth=nth, at=since, seed=self.seed)
        key = KEY.search(body)
        line = {
            "at": at,
            "path": path,
            "delivery": delivery,
            "key": key[1].decode(errors="backslashreplace") if key else "",
            "sha": hashlib.sha256(body).hexdigest(),
            "signature": self.judge(path, headers, body),
            "answer": answer,
            "headers": headers,
        }
        # A single write in append mode, so the line is complete even if the process is killed next.
        os.write(self.log, json.dumps(line).encode() + b"\n")
        return answer

    def judge(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """Return the verdict on a signature, by an independent verifier."""
        verifier = self.verifiers.get(path)
        if verifier is None:
            return "unverified: no webhook has this path"
        try:
            # The body itself is checked elsewhere: its hash is compared with that of the published event.
            verifier.verify(body, headers, json_parse=False)
        except Exception as error:  # noqa: BLE001 - any error of the verifier is logged as its verdict.
            return f"invalid: {error!r}"
        return "valid"

    async def answer(self, writer: asyncio.StreamWriter, answer: str) -> bool:
        """Answer as the script says; return whether the connection stays open."""
        if answer.startswith("slow"):
            await asyncio.sleep(SLOW_SECONDS)
        status = {"slow": "200", "slow-500": "500"}.get(answer, answer)
        if status in REASONS:
            writer.write(f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: 2\r\n\r\nok".encode())
            await writer.drain()
            return True
        if answer == "reset":
            # SO_LINGER with a timeout of 0 makes close send RST.
            opened: socket.socket = writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(round(HANG_SECONDS / DRIP_EVERY_SECONDS)):
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(DRIP_EVERY_SECONDS)
        else:
            await asyncio.sleep(HANG_SECONDS)
        return False


def read_head(head: bytes) -> tuple[str, dict[str, str]]:
    """Return a request's path and headers, names in lower case; the path is empty where it cannot be parsed."""
    first, *lines = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines if line)
    return first.partition(" ")[2].partition(" ")[0], {name.lower(): value.strip() for name, _, value in named}


def length_of_body(headers: dict[str, str]) -> int:
    """Return the Content-Length; 0 when it is missing or not a number."""
    said = headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() else 0


async def main() -> None:
    """Serve until standard input is closed, which happens at the latest when the harness ends."""
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    receiver = Receiver(log)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    message = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(message), sys.stdin)
    while line := await message.readline():
        receiver.learn(json.loads(line))
        print("ok", flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
