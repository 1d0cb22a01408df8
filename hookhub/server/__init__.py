"""The web server's front end: it reads each request completely, within limits, before a Django thread handles it."""
