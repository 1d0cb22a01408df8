"""The servers that HookHub starts by itself, and the processes of a running HookHub."""
