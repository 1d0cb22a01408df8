"""Event types: HookHub's own and an organization's, their schemas, and examples of payloads."""
