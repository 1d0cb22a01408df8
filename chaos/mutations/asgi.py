"""The web server's entry point with a mutation applied: `python -m hookhub.server chaos.mutations.asgi:application`."""

from chaos.mutations import patches
from hookhub.service.asgi import application

patches.apply()

__all__ = ["application"]
