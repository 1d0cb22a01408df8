"""Publishing through Redis: producers append events to a stream, and every worker stores them and takes them out."""
