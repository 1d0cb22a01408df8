"""One worker's place in the stream's consumer group: what it asks of Redis, in commands that Redis 6.2 has."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from hookhub.stream.entries import Entry, Refused

GROUP = "hookhub"
START = "0-0"
# What Redis may take to answer, beyond the time for which it was asked to wait.
PATIENCE = timedelta(seconds=2)
ERROR_LONGEST = 2000
# So many commands go into one transaction when entries are set aside.
SET_ASIDE_AT_ONCE = 100

# What a batch should be at most. One entry more may come, for nobody knows how long it is before it is looked at.
MAX_BATCH_BYTES = 16 << 20
# The newest refused entries are kept, so that a producer's rubbish does not fill Redis.
MAX_REFUSED = 10_000
# Redis makes the ids of its clock. After one far in the future, or the last there is, Redis may refuse the next XADD.
MAX_ID_AHEAD = timedelta(days=1)

# Entries are taken one by one until they are enough or too long, so that a batch's memory is bounded whatever comes.
TAKE = """
local entries, bytes, after = {}, 0, ARGV[3]
while #entries < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
    local told = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
    if not told or #told[1][2] == 0 then
        break
    end
    local entry = told[1][2][1]
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
    local told = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', 1)
    cursor = told[1]
    for _, entry in ipairs(told[2]) do
        for _, field in ipairs(entry and entry[2] or {}) do
            bytes = bytes + #field
        end
        table.insert(entries, entry)
    end
until cursor == '0-0' or #entries >= tonumber(ARGV[5]) or bytes >= tonumber(ARGV[6])
return {cursor, entries}
"""
# Deleted only while there is nothing in it and nothing in any worker's hands; the group is made anew by the next read.
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

# A consumer is deleted with all that is pending for it, and what is pending for nobody is never read again. So it is
# looked at and deleted in one step.
FORGET = """
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


def refused_of(stream: str) -> str:
    """Name the stream in which another's refused entries are kept."""
    return f"{stream}:refused"


def connect(url: str) -> Redis:
    """Give a client that never waits long, repeats nothing by itself, and leaves entries as Redis tells them."""
    # redis-py would listen for notices of maintenance on TCP connections, which takes the other protocol.
    pool = ConnectionPool.from_url(url, maint_notifications_config=MaintNotificationsConfig(enabled=False))
    patience = PATIENCE.total_seconds()
    # Whatever the URL says of these is meant for others.
    pool.connection_kwargs |= {"protocol": 2, "socket_timeout": patience, "socket_connect_timeout": patience}
    pool.connection_kwargs |= {"retry": Retry(NoBackoff(), 0), "decode_responses": False}
    client = Redis.from_pool(pool)
    # The library would make a dict of an entry's fields, which forgets their order and any that is there twice.
    for command in ("XREADGROUP", "XAUTOCLAIM", "XRANGE"):
        client.set_response_callback(command, _as_it_is)
    return client


def ask(client: Any, *command: Any) -> Any:
    """Send a command, through a client or within a transaction, and give what Redis tells."""
    return client.execute_command(*command)


def entries_of(replied: Sequence[Any]) -> list[Entry]:
    """Read entries as Redis tells them; one that was deleted meanwhile has no fields any more."""
    return [Entry(told[0].decode(), told[1] or ()) for told in replied if told is not None]


class Consumer:
    """One of the group, by a name of its own; every method raises redis-py's errors when Redis is not able."""

    def __init__(self, client: Redis, *, stream: str, name: str) -> None:
        self._redis = client
        self._stream = stream
        self._name = name

    def new(self, most: int, *, block: timedelta | None = None) -> list[Entry]:
        """Take entries that nobody has taken yet, waiting up to ``block`` for the first, which then comes alone."""
        entries = self._read(most, after=">")
        if entries or block is None:
            return entries
        command = ["XREADGROUP", "GROUP", GROUP, self._name, "COUNT", 1, "BLOCK", round(block.total_seconds() * 1000)]
        try:
            told = ask(self._redis, *command, "STREAMS", self._stream, ">")
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            self._found_group()
            return []
        return entries_of(told[0][1]) if told else []

    def own(self, most: int) -> list[Entry]:
        """Give the oldest entries that this consumer has taken and not finished."""
        return self._read(most, after=START)

    def abandoned(self, most: int, *, idle: timedelta, cursor: str) -> tuple[str, list[Entry]]:
        """Take over entries that other consumers took and have left alone for so long; give where to go on, too.

        START as the place to go on means that there are no more. An entry that was deleted is among our ``own`` after.
        """
        arguments = (GROUP, self._name, round(idle.total_seconds() * 1000), cursor, most, MAX_BATCH_BYTES)
        try:
            told = ask(self._redis, "EVAL", CLAIM, 1, self._stream, *arguments)
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            return START, []
        return told[0].decode(), entries_of(told[1])

    def finish(self, entries: Sequence[Entry]) -> None:
        """Take stored entries out of the stream."""
        ids = [entry.id for entry in entries]
        if ids:
            with self._redis.pipeline() as transaction:
                transaction.xack(self._stream, GROUP, *ids)
                transaction.xdel(self._stream, *ids)
                transaction.execute()

    def set_aside(self, refused: Sequence[Refused], *, now: datetime) -> None:
        """Move entries that will not do to the stream of the refused, each with what is wrong with it."""
        aside = refused_of(self._stream)
        for start in range(0, len(refused), SET_ASIDE_AT_ONCE):
            with self._redis.pipeline() as transaction:
                for each in refused[start : start + SET_ASIDE_AT_ONCE]:
                    error = each.error[:ERROR_LONGEST].encode(errors="backslashreplace")
                    ours = ["error", error, "entry", each.entry.id, "refused_at", now.isoformat()]
                    transaction.xack(self._stream, GROUP, each.entry.id)
                    transaction.xdel(self._stream, each.entry.id)
                    kept = _kept_of(each.entry)
                    ask(transaction, "XADD", aside, "MAXLEN", "~", MAX_REFUSED, "*", *ours, *kept)
                done = transaction.execute()
            # What another worker had finished first, while this one was held up, it has also set aside.
            if doubled := [written for was_ours, _, written in zip(*[iter(done)] * 3, strict=True) if not was_ours]:
                self._redis.xdel(aside, *doubled)

    def reopen(self, *, now: datetime) -> bool:
        """Delete the stream if it is empty and its last id is far in the future, and return whether it was.

        Such an id is a producer's own. After the last id there is, no producer can append anything more.
        """
        latest = round((now + MAX_ID_AHEAD).timestamp() * 1000)
        return bool(ask(self._redis, "EVAL", REOPEN, 1, self._stream, latest))

    def forget(self, *, idle: timedelta) -> int:
        """Delete the consumers that have had nothing in hand and not been heard of for so long; give how many."""
        return self._forget(idle, name="")

    def leave(self) -> None:
        """Delete this consumer, unless it has entries in hand: those are taken over by another."""
        self._forget(timedelta(0), name=self._name)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _forget(self, idle: timedelta, *, name: str) -> int:
        milliseconds = round(idle.total_seconds() * 1000)
        try:
            return int(ask(self._redis, "EVAL", FORGET, 1, self._stream, GROUP, milliseconds, name))
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            return 0

    def _read(self, most: int, *, after: str) -> list[Entry]:
        try:
            told = ask(self._redis, "EVAL", TAKE, 1, self._stream, GROUP, self._name, after, most, MAX_BATCH_BYTES)
        except ResponseError as error:
            if not self._is_group_gone(error):
                raise
            self._found_group()
            return []
        return entries_of(told)

    def _found_group(self) -> None:
        """Make the group, and the stream if need be, so that it reads from the very first entry."""
        try:
            self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            # Another worker was first.
            if not str(error).startswith("BUSYGROUP"):
                raise

    @staticmethod
    def _is_group_gone(error: ResponseError) -> bool:
        """Tell whether Redis does not know the stream or its group: it was emptied, or never asked before."""
        return any(words in str(error) for words in ("NOGROUP", "UNBLOCKED", "no such key"))


def _kept_of(entry: Entry) -> Sequence[bytes]:
    """Return what is kept of a refused entry: everything, unless it is longer than any that could ever be published."""
    if entry.size <= settings.HOOKHUB_REQUEST_LIMIT:
        return entry.fields
    return [b"dropped", f"{entry.size} bytes, more than HOOKHUB_REQUEST_LIMIT".encode()]


def _as_it_is(replied: Any, **_: Any) -> Any:
    return replied
