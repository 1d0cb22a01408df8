"""Fuzzing of a separate HookHub with valid and invalid requests generated from its OpenAPI document."""
