#!/bin/sh
# Starts Valkey with the users of a deployment, whose passwords come from the environment; none can connect without one.
set -eu
umask 077
users="${TMPDIR:-/tmp}/users.acl"
{
    echo "user default off"
    # Web servers and workers: everything but to reconfigure or empty the server.
    echo "user hookhub on >${VALKEY_PASSWORD:?} ~* &* +@all -@admin -@dangerous"
    # Programs that publish through the stream, if there are any: docs/publishing.md says what this lets them do.
    if [ -n "${VALKEY_PRODUCER_PASSWORD:-}" ]; then
        echo "user producer on >${VALKEY_PRODUCER_PASSWORD} ~hookhub:events +xadd"
    fi
} > "$users"
# It carries the bell, which is not worth saving, and events published through it until a worker has stored them.
# No command may be longer than two requests of HookHub's could be (HOOKHUB_REQUEST_LIMIT), whoever sends it.
exec valkey-server --aclfile "$users" --save "" --appendonly yes --maxmemory-policy noeviction \
    --proto-max-bulk-len 36mb --client-query-buffer-limit 64mb "$@"
