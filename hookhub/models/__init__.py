"""Who may do what, sessions of the portal, and replays; the engine's rows are in ``deliveries.models``."""

from hookhub.models.access import INCLUDED, ApiKey, CustomEventType, Membership, Scope, digest
from hookhub.models.portal import PortalSession
from hookhub.models.replays import Replay

__all__ = ["INCLUDED", "ApiKey", "CustomEventType", "Membership", "PortalSession", "Replay", "Scope", "digest"]
