"""A shop that tells its customers' programs about their orders."""
