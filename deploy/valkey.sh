#!/bin/sh
# Start Valkey with the users of a deployment. Their passwords come from the environment; no user can connect without
# a password.
set -eu
umask 077
users="${TMPDIR:-/tmp}/users.acl"
{
    echo "user default off"
    # Web servers and workers: all commands except those that reconfigure or empty the server.
    echo "user hookhub on >${VALKEY_PASSWORD:?} ~* &* +@all -@admin -@dangerous"
    # Programs that publish through the stream, if any; docs/publishing.md describes what this user can do.
    if [ -n "${VALKEY_PRODUCER_PASSWORD:-}" ]; then
        echo "user producer on >${VALKEY_PRODUCER_PASSWORD} ~hookhub:events +xadd"
    fi
} > "$users"
# Valkey holds wake-ups, which need not survive a restart, and published events that no worker has stored yet, which must.
# The two size limits keep clients from sending a command larger than two of HookHub's requests could be
# (HOOKHUB_REQUEST_LIMIT).
exec valkey-server --aclfile "$users" --save "" --appendonly yes --maxmemory-policy noeviction \
    --proto-max-bulk-len 36mb --client-query-buffer-limit 64mb "$@"
