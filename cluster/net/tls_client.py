"""How to encrypt a connection to an ``rtmps`` address."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from cluster.core.errors import EnvironmentFault


@dataclass(frozen=True, slots=True)
class Tls:
    """What of the server's certificate is checked, and against what.

    ``verify`` False accepts any certificate, which protects against listening but not against an
    impostor. ``ca_file`` holds the authorities to trust instead of the system's. ``server_name`` is sent
    (SNI) and checked instead of the host of the address.
    """

    verify: bool = True
    ca_file: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 at least. EnvironmentFault if the authorities cannot be read."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError:
            raise EnvironmentFault(f"the CA file {self.ca_file} has no certificate in it (PEM)") from None
        except OSError as error:
            raise EnvironmentFault(f"cannot read the CA file {self.ca_file}: {error.strerror}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
