"""The web server's ASGI application with passwords that are checked in no time, for tests with many logins."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from hookhub.service.asgi import application

__all__ = ["application"]

# Slow on purpose: each login takes a third of a second of processor time.
PBKDF2PasswordHasher.iterations = 1
