"""The receiver of the fault harness: a process of its own that writes each request down before it answers.

`python -m chaos.receiver LOG` prints its port. Each line on its standard input is a JSON object with any of "secrets"
(by path), "script", "seed" and "begun_at", answered by a line; when the input ends, so does the receiver.
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

from chaos.script import SLOW_SECONDS, Script, answer_to, from_json

DRIP_EVERY_SECONDS = 0.2
# Longer than anybody's deadline; who is left hanging hangs up first.
HANG_SECONDS = 60
REASONS = {"200": "OK", "500": "Internal Server Error", "410": "Gone"}
KEY = re.compile(rb'"k" ?: ?"([^"]+)"')


class Receiver:
    """One event loop; what it knows of HookHub are the secrets, what it knows of the scenario is its script."""

    def __init__(self, log: int) -> None:
        self.log = log
        self.script: Script = {}
        self.verifiers: dict[str, Webhook] = {}
        self.seed = 0
        self.begun_at = time.time()
        self.seen: Counter[tuple[str, str]] = Counter()

    def learn(self, told: dict[str, Any]) -> None:
        """Take in what the harness says."""
        self.verifiers |= {path: Webhook(secret) for path, secret in told.get("secrets", {}).items()}
        self.script = from_json(told["script"]) if "script" in told else self.script
        self.seed = told.get("seed", self.seed)
        self.begun_at = told.get("begun_at", self.begun_at)

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
        """Write a request down, and with it what is going to be done to it."""
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
        # One write to a file opened for appending: whoever is killed next, the line is there whole.
        os.write(self.log, json.dumps(line).encode() + b"\n")
        return answer

    def judge(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """Give a verdict on the signature, by a verifier that is not ours."""
        verifier = self.verifiers.get(path)
        if verifier is None:
            return "for a webhook that does not exist"
        try:
            # What the body says is for nobody here to understand: it is held against what was published, by its hash.
            verifier.verify(body, headers, json_parse=False)
        except Exception as error:  # noqa: BLE001 - whatever it trips over is written down as its verdict.
            return f"invalid: {error!r}"
        return "valid"

    async def answer(self, writer: asyncio.StreamWriter, answer: str) -> bool:
        """Do what the script says; tell whether the connection may go on."""
        if answer.startswith("slow"):
            await asyncio.sleep(SLOW_SECONDS)
        status = {"slow": "200", "slow-500": "500"}.get(answer, answer)
        if status in REASONS:
            writer.write(f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: 2\r\n\r\nok".encode())
            await writer.drain()
            return True
        if answer == "reset":
            # Lingering for no time makes the end of a connection a RST.
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
    """Give the path and the headers of a request, their names in lower case; no path where there is none to read."""
    first, *lines = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines if line)
    return first.partition(" ")[2].partition(" ")[0], {name.lower(): value.strip() for name, _, value in named}


def length_of_body(headers: dict[str, str]) -> int:
    """Give how many bytes the body has as its sender says; none where that is no number."""
    said = headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() else 0


async def main() -> None:
    """Serve until the standard input ends, which it does at the latest when the harness does."""
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    receiver = Receiver(log)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    told = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        receiver.learn(json.loads(line))
        print("understood", flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
