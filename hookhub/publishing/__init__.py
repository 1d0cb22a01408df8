"""Publishing events: parse, validate, store; used by the API, the dialects, the Redis stream and the commands."""
