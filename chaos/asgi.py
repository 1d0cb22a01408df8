"""The web server's entry point with a mutation applied: `granian chaos.asgi:application`, used by the harness only."""

from chaos import bugs
from config.asgi import application

bugs.apply()

__all__ = ["application"]
