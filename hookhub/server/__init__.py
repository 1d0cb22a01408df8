"""The web server. Processes fork and accept connections; a front reads each request before a Django thread handles it.

From the outside in: ``__main__``, ``processes``, ``serving``, ``connection``, ``exchange``, ``front``.
"""
