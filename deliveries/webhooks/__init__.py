"""Webhooks: their fields, and the operations of their owners."""
