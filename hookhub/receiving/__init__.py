"""For the programs that receive: check that a request is really HookHub's, in plain Python.

from hookhub.receiving import VerificationFailed, verify

received = verify(body, headers, secrets="whsec_…", format="standard-webhooks")
print(received.type, received.data)
"""

from hookhub.receiving.addresses import is_from, sender_of
from hookhub.receiving.request import Received, VerificationFailed
from hookhub.receiving.signatures import FORMATS, verify

__all__ = ["FORMATS", "Received", "VerificationFailed", "is_from", "sender_of", "verify"]
