"""Whether a text of somebody else's holds certificates that TLS libraries can read."""

import base64
import re
from typing import Final

_CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII
)

SEQUENCE: Final = 0x30
LONG_FORM: Final = 0x80
"""Above it, the length of an ASN.1 value has so many bytes of its own (ITU-T X.690, 8.1.3)."""
SHORTEST: Final = 4


def holds_certificates(text: str) -> bool:
    """Whether there are certificates in PEM, and all of them can be read; what is between them counts for nothing."""
    found = _CERTIFICATE.findall(text)
    return bool(found) and all(_is_framed(one) for one in found)


def _is_framed(certificate: str) -> bool:
    """Whether it is a whole ASN.1 sequence. What is in it the pod finds out: hundreds of them would take OpenSSL seconds, in which
    the operator does nothing else."""
    try:
        der = base64.b64decode("".join(certificate.splitlines()[1:-1]), validate=True)
    except ValueError:
        return False
    if len(der) < SHORTEST or der[0] != SEQUENCE:
        return False
    if der[1] < LONG_FORM:
        return len(der) == 2 + der[1]
    digits = der[1] - LONG_FORM
    return len(der) == 2 + digits + int.from_bytes(der[2 : 2 + digits], "big")
