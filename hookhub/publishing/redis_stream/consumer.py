"""A worker's consumer in the stream's consumer group; uses only commands of Redis 6.2."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import ResponseError

from deliveries.redis_link import pool_for
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry

GROUP = "hookhub"
START = "0-0"
# The socket timeout. It is longer than any time for which Redis is asked to block.
SOCKET_TIMEOUT = timedelta(seconds=2)
MAX_ERROR_LENGTH = 2000
# Entries that one transaction moves to the dead-letter stream.
DEAD_LETTERS_AT_ONCE = 100

# A batch ends with the entry that reaches this size: the size of an entry is known only once it has been read.
MAX_BATCH_BYTES = 16 << 20
# The dead-letter stream is trimmed to its newest entries, so that invalid events cannot fill Redis.
MAX_DEAD_LETTERS = 10_000
# Redis generates ids from its clock, but a producer can choose one far in the future. XADD then fails for every
# producer whose ids are lower, and after the highest possible id for all of them.
MAX_ID_AHEAD = timedelta(days=1)

# Reads entries one at a time until there are enough of them or of their bytes, which bounds the memory of a batch.
TAKE = """
local entries, bytes, after = {}, 0, ARGV[3]
while #entries < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
    local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
    if not reply or #reply[1][2] == 0 then
        break
    end
    local entry = reply[1][2][1]
    if after ~= '>' then
        after = entry[1]
    end
    for _, field in ipairs(entry[2] or {}) do
        bytes = bytes + #field
    end
    table.insert(entries, entry)
end
return entries
"""
CLAIM = """
local entries, bytes, cursor = {}, 0, ARGV[4]
repeat
    local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', 1)
    cursor = reply[1]
    for _, entry in ipairs(reply[2]) do
        for _, field in ipairs(entry and entry[2] or {}) do
            bytes = bytes + #field
        end
        table.insert(entries, entry)
    end
until cursor == '0-0' or #entries >= tonumber(ARGV[5]) or bytes >= tonumber(ARGV[6])
return {cursor, entries}
"""
# Deletes the stream only while it is empty and no group has a pending entry; the next read creates the group again.
REOPEN = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local known = {}
local facts = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #facts, 2 do
    known[facts[i]] = facts[i + 1]
end
local moment = tonumber(string.match(known['last-generated-id'], '^%d+'))
if known.length > 0 or moment <= tonumber(ARGV[1]) then
    return 0
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #group, 2 do
        if group[i] == 'pending' and group[i + 1] > 0 then
            return 0
        end
    end
end
return redis.call('DEL', KEYS[1])
"""

# DELCONSUMER also drops the consumer's pending entries, and no consumer would ever read them again. The check and the
# deletion are therefore one atomic script.
DEREGISTER = """
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local known = {}
    for i = 1, #consumer, 2 do
        known[consumer[i]] = consumer[i + 1]
    end
    local is_meant = ARGV[3] == '' or ARGV[3] == known.name
    if is_meant and known.pending == 0 and known.idle >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], known.name)
        forgotten = forgotten + 1
    end
end
return forgotten
"""


def dead_letter_stream(stream: str) -> str:
    """Return the name of a stream's dead-letter stream."""
    return f"{stream}:refused"


def connect(url: str) -> Redis:
    """Return a client with a short timeout and without retries that does not parse stream entries.

    Raise ValueError for an invalid URL.
    """
    client = Redis.from_pool(pool_for(url, timeout=SOCKET_TIMEOUT))
    # redis-py would parse an entry's fields into a dict, which loses those whose name is repeated.
    for command in ("XREADGROUP", "XAUTOCLAIM", "XRANGE"):
        client.set_response_callback(command, _as_it_is)
    return client


def ask(client: Any, *command: Any) -> Any:
    """Send a raw command through a client or a pipeline, and return the response."""
    return client.execute_command(*command)


def entries_of(replies: Sequence[Any]) -> list[Entry]:
    """Parse the entries of a response; a pending entry that was deleted from the stream has no fields."""
    return [Entry(reply[0].decode(), reply[1] or ()) for reply in replies if reply is not None]


class Consumer:
    """One consumer of the group, under a unique name; every method raises redis-py's errors."""

    def __init__(self, client: Redis, *, stream: str, name: str) -> None:
        self._redis = client
        self._stream = stream
        self._name = name

    def new(self, most: int, *, block: timedelta | None = None) -> list[Entry]:
        """Read up to ``most`` entries that no consumer has read yet.

        If there are none, wait up to ``block`` for the first, and return it alone.
        """
        entries = self._read(most, after=">")
        if entries or block is None:
            return entries
        command = ["XREADGROUP", "GROUP", GROUP, self._name, "COUNT", 1, "BLOCK", round(block.total_seconds() * 1000)]
        try:
            reply = ask(self._redis, *command, "STREAMS", self._stream, ">")
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            self._create_group()
            return []
        return entries_of(reply[0][1]) if reply else []

    def pending(self, most: int, *, after: str = START) -> list[Entry]:
        """Return up to ``most`` of this consumer's pending entries, oldest first, with ids above ``after``."""
        return self._read(most, after=after)

    def claim_stale(self, most: int, *, idle: timedelta, cursor: str) -> tuple[str, list[Entry]]:
        """Claim entries that have been pending elsewhere for ``idle``; return the next cursor and the entries.

        A cursor of START means that the scan is complete. Of an entry that was deleted from the stream Redis 6.2
        returns nothing here, but claims it all the same: it is then among this consumer's ``pending`` ones.
        """
        arguments = (GROUP, self._name, round(idle.total_seconds() * 1000), cursor, most, MAX_BATCH_BYTES)
        try:
            reply = ask(self._redis, "EVAL", CLAIM, 1, self._stream, *arguments)
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            return START, []
        return reply[0].decode(), entries_of(reply[1])

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Acknowledge stored entries and delete them from the stream."""
        ids = [entry.id for entry in entries]
        if ids:
            with self._redis.pipeline() as transaction:
                transaction.xack(self._stream, GROUP, *ids)
                transaction.xdel(self._stream, *ids)
                transaction.execute()

    def dead_letter(self, rejected: Sequence[InvalidEntry], *, now: datetime) -> None:
        """Move invalid entries to the dead-letter stream, each with its error."""
        dead_letters = dead_letter_stream(self._stream)
        # Fails if that is no stream. A transaction would fail at XADD only, and delete the entries all the same.
        self._redis.xlen(dead_letters)
        for start in range(0, len(rejected), DEAD_LETTERS_AT_ONCE):
            with self._redis.pipeline() as transaction:
                for each in rejected[start : start + DEAD_LETTERS_AT_ONCE]:
                    error = each.error[:MAX_ERROR_LENGTH].encode(errors="backslashreplace")
                    ours = ["error", error, "entry", each.entry.id, "refused_at", now.isoformat()]
                    transaction.xack(self._stream, GROUP, each.entry.id)
                    transaction.xdel(self._stream, each.entry.id)
                    kept = _kept_of(each.entry)
                    ask(transaction, "XADD", dead_letters, "MAXLEN", "~", MAX_DEAD_LETTERS, "*", *ours, *kept)
                done = transaction.execute()
            # If XACK counted none, another worker has claimed the entry meanwhile, and moved it: delete our copy.
            if doubled := [written for was_ours, _, written in zip(*[iter(done)] * 3, strict=True) if not was_ours]:
                self._redis.xdel(dead_letters, *doubled)

    def reopen(self, *, now: datetime) -> bool:
        """Delete the stream if it is empty and its last id is far in the future; return whether it was deleted.

        Only a producer that chooses its own ids can cause this. After the highest possible id every XADD fails.
        """
        latest = round((now + MAX_ID_AHEAD).timestamp() * 1000)
        return bool(ask(self._redis, "EVAL", REOPEN, 1, self._stream, latest))

    def deregister_idle(self, *, idle: timedelta) -> int:
        """Delete the consumers that have no pending entries and have been idle for ``idle``; return their number."""
        return self._deregister(idle, name="")

    def deregister(self) -> None:
        """Delete this consumer, unless it has pending entries, which another consumer will claim."""
        self._deregister(timedelta(0), name=self._name)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _deregister(self, idle: timedelta, *, name: str) -> int:
        milliseconds = round(idle.total_seconds() * 1000)
        try:
            return int(ask(self._redis, "EVAL", DEREGISTER, 1, self._stream, GROUP, milliseconds, name))
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            return 0

    def _read(self, most: int, *, after: str) -> list[Entry]:
        try:
            reply = ask(self._redis, "EVAL", TAKE, 1, self._stream, GROUP, self._name, after, most, MAX_BATCH_BYTES)
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            self._create_group()
            return []
        return entries_of(reply)

    def _create_group(self) -> None:
        """Create the group, and the stream if necessary, to be read from its first entry."""
        try:
            self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            # Another worker has just created it.
            if not str(error).startswith("BUSYGROUP"):
                raise

    @staticmethod
    def _is_group_gone(error: ResponseError) -> bool:
        """Return whether the stream or its group does not exist: Redis was flushed, or this is the first read."""
        return any(words in str(error) for words in ("NOGROUP", "UNBLOCKED", "no such key"))


def _kept_of(entry: Entry) -> Sequence[bytes]:
    """Return the fields to keep of a dead letter: all, unless it exceeds the limit and could never be published."""
    if entry.size <= settings.HOOKHUB_REQUEST_LIMIT:
        return entry.fields
    return [b"dropped", f"{entry.size} bytes, more than HOOKHUB_REQUEST_LIMIT".encode()]


def _as_it_is(replied: Any, **_: Any) -> Any:
    return replied
