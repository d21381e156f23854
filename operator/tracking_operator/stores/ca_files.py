"""Certificate authorities as files, which is how libpq and botocore want them."""

import os
from functools import cache


@cache
def ca_file(certificates: str | None) -> str | None:
    """A file with these certificates (PEM), for this process; None for None: the system's are to count.

    It is in memory, which needs no writable folder, and stays there: botocore reads it again for each connection.
    """
    if certificates is None:
        return None
    descriptor = os.memfd_create("ca", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "w") as file:
        file.write(certificates)
    return f"/proc/self/fd/{descriptor}"
