"""Publishing through a Redis stream: producers append events, and every worker moves them to the database."""
