"""Requests made of the OpenAPI document itself, valid and invalid ones, sent to a HookHub of its own."""
