"""What HookHub tells of itself: metrics, traces, logs as JSON, reports of errors. Only what is on is imported."""
