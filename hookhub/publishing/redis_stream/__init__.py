"""Publishing through Redis: a worker's parent process reads a stream in batches through a consumer group."""
