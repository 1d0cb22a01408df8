"""The representations of `/v1`, by subject: what requests may contain, and what responses do."""
