"""The registry of dialects: a new one is a package beside this, a line below, and a folder of golden exchanges."""

from hookhub.dialects.base import Dialect
from hookhub.dialects.social_gateway import SOCIAL_GATEWAY

__all__ = ["DIALECTS", "Dialect"]

DIALECTS: dict[str, Dialect] = {
    dialect.slug: dialect
    for dialect in (
        # Mounted in this order.
        SOCIAL_GATEWAY,
    )
}
