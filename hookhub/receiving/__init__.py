"""For the programs that receive: check that a request is really HookHub's, in plain Python.

from hookhub.receiving import VerificationFailed, verify

received = verify(body, headers, secrets="whsec_…")
print(received.type, received.data)
"""

from hookhub.receiving.signatures import FORMATS, Received, VerificationFailed, verify

__all__ = ["FORMATS", "Received", "VerificationFailed", "verify"]
