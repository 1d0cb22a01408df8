"""E-mails to the owners of API keys, and what all e-mails have in common."""
