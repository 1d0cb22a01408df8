"""The registry of dialects. A new one needs a package here, a line below and a folder of golden exchanges.

Coregit and codmir are not in it: they have no paths of their own, but share HookHub's (hookhub.api.presenters).
"""

from hookhub.dialects.base import Dialect
from hookhub.dialects.sigmagit import SIGMAGIT
from hookhub.dialects.social_gateway import SOCIAL_GATEWAY

__all__ = ["DIALECTS", "Dialect"]

DIALECTS: dict[str, Dialect] = {
    dialect.slug: dialect
    for dialect in (
        # Mounted in this order.
        SIGMAGIT,
        SOCIAL_GATEWAY,
    )
}
