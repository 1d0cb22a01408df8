"""Django's PostgreSQL backend with cheap health checks, and with session errors separated from data errors."""
