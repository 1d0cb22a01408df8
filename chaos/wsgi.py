"""The web server's way in with a fault built in: `granian chaos.wsgi:application`, by the fault harness only."""

from chaos import bugs
from config.wsgi import application

bugs.apply()

__all__ = ["application"]
