"""HookHub's configuration: settings, URLs, the Celery app, and the ASGI and WSGI entry points."""
