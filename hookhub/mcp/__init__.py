"""MCP: agents list event types, subscribe to events, and look at what they were sent, at `POST /mcp`.

``views`` reads a request and renders its answer; ``jsonrpc`` and ``protocol`` know the envelope; ``event_types`` and
``subscriptions`` are MCP Events, ``waiting`` waits for a callback's proof, and ``tools`` are the tools.
"""
