"""Verifies webhook requests in a receiver; needs only the standard library of Python 3.9 or later.

from hookhub_client.receiving import VerificationFailed, verify

try:
    received = verify(body, headers, secrets="whsec_…", format="standard-webhooks")
except VerificationFailed as failed:
    ...  # Answer 401 with str(failed).
print(received.type, received.id, received.data)
"""

from .addresses import is_from, sender_of
from .request import Received, VerificationFailed
from .signatures import FORMATS, verify

__all__ = ["FORMATS", "Received", "VerificationFailed", "is_from", "sender_of", "verify"]
