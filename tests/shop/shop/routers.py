"""Routers of a shop with a second database, for what it archives."""


class Archive:
    """Leaves HookHub's tables where they are."""

    def db_for_read(self, model, **hints):
        return "archive" if model._meta.label == "orders.Archived" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "archive") == (hints.get("model") is not None and hints["model"]._meta.label == "orders.Archived")


class EverythingElse:
    """Puts everything but the orders into the second database, HookHub's tables among it."""

    def db_for_read(self, model, **hints):
        return None if model._meta.app_label == "orders" else "archive"

    db_for_write = db_for_read
