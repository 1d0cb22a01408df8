"""A Redis with a replica and three Sentinels, which make the replica the master when it is away."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from redis import Redis, RedisError

from hookhub.embedded.valkey import valkey_binary
from testbed.processes import free_port, wait_for

SERVICE, PASSWORD = "hookhub", "a-password"
NOTICES_AFTER_MS = 1000


class WatchedRedis:
    """Two servers, of which one is the master, and three Sentinels. ``tls`` are the options of Redis for that."""

    def __init__(self, *, program: str = "", tls: Sequence[str] = ()) -> None:
        self._program = program or str(valkey_binary())
        self._tls = list(tls)
        self.is_tls = bool(tls)
        self._folder = Path(tempfile.mkdtemp(prefix="hookhub-sentinels-"))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: dict[int, Any] = {}
        self._sentinels: list[int] = []

    def __enter__(self) -> Self:
        """Start all of them, and wait until they know each other."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill them."""
        self.close()

    def _start(self) -> None:
        first, second = free_port(), free_port()
        self._run(first)
        self._run(second, "--replicaof", "127.0.0.1", str(first))
        for port in (first, second):
            wait_for(partial(self._asks, port, "ping"), "a Redis")
        wait_for(lambda: self._asks(second, "info", "replication")["master_link_status"] == "up", "the replica")
        for number in range(3):
            port, settings = free_port(), self._folder / f"sentinel-{number}.conf"
            settings.write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {first} 2\n"
                f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {SERVICE} {NOTICES_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 5000\n"
            )
            self._run(port, file=settings)
            self._sentinels.append(port)
        wait_for(lambda: all(map(self._is_complete, self._sentinels)), "the Sentinels to know each other")

    def _run(self, port: int, *options: str, file: Path | None = None) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        ports = (
            ["--port", "0", "--tls-port", str(port), "--tls-replication", "yes"] if self._tls else ["--port", str(port)]
        )
        kind = (
            [str(file), "--sentinel"] if file else ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", ""]
        )
        command = [self._program, *kind, *ports, "--bind", "127.0.0.1", "--dir", str(folder), *self._tls, *options]
        with (folder / "log").open("wb") as log:
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log)

    def _client(self, port: int, *, is_sentinel: bool = False) -> Any:
        """Return the client of a server, which is kept: to read the system's certificates for TLS takes a while."""
        if port not in self._clients:
            self._clients[port] = Redis(
                port=port, password=None if is_sentinel else PASSWORD, ssl=bool(self._tls), ssl_cert_reqs="none",
                ssl_check_hostname=False, decode_responses=True, socket_timeout=5,
            )  # fmt: skip
        return self._clients[port]

    def _asks(self, port: int, *command: str) -> dict[str, object]:
        try:
            answer = self._client(port).execute_command(*command)
            return answer if isinstance(answer, dict) else {"": answer}
        except RedisError:
            return {"master_link_status": ""} if command[0] == "info" else {}

    def _is_complete(self, port: int) -> bool:
        try:
            known = self._client(port, is_sentinel=True).sentinel_master(SERVICE)
        except RedisError:
            return False
        return (known["num-slaves"], known["num-other-sentinels"]) == (1, 2)

    @property
    def master(self) -> int:
        """The port of the master that the Sentinels name."""
        return int(self._client(self._sentinels[0], is_sentinel=True).sentinel_get_master_addr_by_name(SERVICE)[1])

    def url(self, *, query: str = "") -> str:
        """Return the URL by which HookHub finds the master."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinels)
        return f"redis{'s' * bool(self._tls)}+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0{query}"

    def client(self) -> Any:
        """Return a client of the master."""
        return self._client(self.master)

    def kill_master(self) -> None:
        """Kill the master and a Sentinel, and wait until the Sentinels name the other server."""
        old = self.master
        gone = self._sentinels.pop()
        for port in (old, gone):
            self._processes[port].kill()
            self._processes[port].wait()
        wait_for(lambda: self.master != old, "the failover")

    def fail_over(self) -> None:
        """Let the Sentinels make the replica the master while both run, and wait until the old one follows it."""
        old = self.master
        self._client(self._sentinels[0], is_sentinel=True).execute_command("SENTINEL", "FAILOVER", SERVICE)
        wait_for(lambda: self.master != old, "the failover")
        wait_for(lambda: self._asks(old, "info", "replication").get("role") == "slave", "the old master to follow")

    def close(self) -> None:
        """Kill all of them."""
        for client in self._clients.values():
            client.close()
        for process in self._processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
