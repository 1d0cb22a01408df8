"""Decisions as pure functions: what a response means, when to retry, when to disable."""
