"""The web server's way in with a fault built in: `granian chaos.asgi:application`, by the fault harness only."""

from chaos import bugs
from config.asgi import application

bugs.apply()

__all__ = ["application"]
