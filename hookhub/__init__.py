"""HookHub's APIs, admin, web server and commands, around the engine in ``deliveries``. This is their map, from the top.

======================  ===============================================================================================
``service``             HookHub as a service of its own: settings, URLs, entry points, the command `hookhub`, its look
``mounting``            HookHub in a Django project, below its ``urls``; ``celery``: delivery by its Celery workers
``patterns``            the URLs that the service and a project have in common; ``frameworks``: settings in common
``server``              the web server: reads each request, within limits, before a thread of Django handles it
``middleware``          health checks, served hosts, the publishing fast path, limits by address, loop detection
``management``          the commands
``telemetry``           metrics, traces, logs as JSON and reports of errors, each only if it is switched on
``cache_invalidation``  a thread per web process evicts cached rows when another process has changed them
``api``                 `/v1`: views, serializers and, for `/v1/webhooks`, a presenter for each dialect that shares it
``dialects``            the APIs of other systems, a package each, under those systems' paths
``mcp``                 `/mcp`: MCP Events, and tools to look at them
``admin``               the admin's pages; ``sso``: logins by OpenID Connect
``portal``              pages for the owners of webhooks; ``portal_sessions``, opened by links; ``branding``: its look
``explanations``        why a delivery is in its state, and, also for the pages of admin and portal: ``attempt_facts``,
                        ``webhook_health``, ``charts``, ``formatting``
``descriptions``        the API's descriptions: OpenAPI's layout, what receivers get, AsyncAPI, JSON Schemas, llms.txt
``publishing``          publishing events: parse, validate, translate, publish, the fast path; ``redis_stream``
``outbox``              publishing from the code of a Django project, in its transaction
``http``                the request kit: authentication, authorization, parsing, errors, pagination, rate limits
``event_types``         custom event types, JSON Schemas, and the examples that test events are made of
``alerts``              channels that get an alert when a webhook fails, and these alerts
``notifications``       e-mails to the owners of API keys, and what all e-mails have in common
``replays``             redelivery of many deliveries in the background
``api_keys``            changing, rolling and revoking API keys
``audited``             what the audit log shows of API keys, memberships, event types and replays
``models``              API key, membership, custom event type, replay, alert, portal session
``row_cache``           rows cached in a process for some seconds
``key_text``            the text of an API key: id, secret and checksum
``embedded``            the PostgreSQL and Valkey that HookHub starts by itself, and the processes of a running HookHub
``postgresql``          the database backend: which errors are transient
``people``              the people with logins, of whatever user model
``procfile``            the processes that the Procfile lists; ``secret_arguments``: secrets given as arguments
``client``              the Python client; ``stream_client``: publishing through Redis
``receiving``           verification of deliveries, for receivers; ``forwarding``: events to a program on this machine
``git``                 the post-receive hook, for git hosts
======================  ===============================================================================================

A Django project publishes with ``from hookhub import publish``; what that and its siblings need is loaded when one is
first asked for, because most of this package runs without Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookhub.outbox import (
        IdempotencyKeyReused,
        InvalidEvent,
        UnknownOrganization,
        apublish,
        apublish_batch,
        publish,
        publish_batch,
    )

__all__ = [
    "IdempotencyKeyReused", "InvalidEvent", "UnknownOrganization", "apublish", "apublish_batch", "publish",
    "publish_batch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("hookhub.outbox"), name)
