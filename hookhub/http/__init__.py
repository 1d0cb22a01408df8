"""The web server's front: it reads each request whole, within limits, before one of Django's threads sees it."""
