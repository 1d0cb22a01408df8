"""Django's PostgreSQL backend with cheaper health checks, and with errors told apart by whom they are about."""
