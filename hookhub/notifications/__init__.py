"""E-mails to owners of webhooks and API keys."""
