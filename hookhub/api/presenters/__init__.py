"""The shapes of responses at /v1/webhooks: an organization's dialect, or HookHub's own."""
