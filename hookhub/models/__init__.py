"""Who may do what, alerts, sessions of the portal, and replays; the engine's rows are in ``deliveries.models``."""

from hookhub.models.access import INCLUDED, MASTER_ONLY, ApiKey, CustomEventType, Membership, Scope, digest
from hookhub.models.alerts import KINDS, Alert, AlertChannel, AlertKind
from hookhub.models.portal import PortalSession, PortalSettings
from hookhub.models.replays import Replay

__all__ = [
    "INCLUDED", "KINDS", "MASTER_ONLY", "Alert", "AlertChannel", "AlertKind", "ApiKey", "CustomEventType", "Membership",
    "PortalSession", "PortalSettings", "Replay", "Scope", "digest",
]  # fmt: skip
