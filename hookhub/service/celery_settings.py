"""The configuration of Celery, as far as no variable changes it."""

from datetime import timedelta

CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
# Replaces dead pool processes also while Redis is unavailable.
CELERY_WORKER_CONSUMER = "deliveries.worker.celery_steps:PoolKeepingConsumer"
# Celery kills a child that has not reported its start within this time, and it reads no such reports while it waits for
# Redis: once Redis is back, it would kill children with deliveries in flight.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = timedelta(days=7).total_seconds()
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The default gives up after a hundred tries; the worker would keep running without receiving wake-ups.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Retry if Redis rejects a command, for example because it is out of memory; by default the worker would exit.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# Short timeouts, because a worker that shuts down sends Redis several commands, and each of them may time out.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
