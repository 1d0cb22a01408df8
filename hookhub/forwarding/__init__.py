"""Forwards the events of a remote HookHub to a program on this machine, which cannot be reached from outside.

One file that needs `requests` and Python 3.9, and nothing else of HookHub's: run it as it is, or use
``manage.py listen --forward``. It creates a polling webhook for the time that it runs, fetches its events, and sends
each to the program as HookHub would, with the same headers, body and signature.
"""
