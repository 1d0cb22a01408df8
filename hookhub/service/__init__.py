"""HookHub as a service of its own: settings, URLs, the Celery app, the ASGI and WSGI entry points, and its commands.

A Django project that has HookHub among its apps uses nothing of this.
"""
