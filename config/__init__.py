"""How HookHub is put together and set up."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
