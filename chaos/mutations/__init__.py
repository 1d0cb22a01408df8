"""Bugs built in on purpose, and the entry points that start a process with one; never part of HookHub."""
