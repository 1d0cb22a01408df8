"""The native REST API under /v1/: views parse a request, call one engine function and render the result."""
