"""The native REST API under /v1/: views parse, call one engine function, and show."""
