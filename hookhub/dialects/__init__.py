"""The vendors' own APIs, each translated to calls of the engine."""
