"""Database URIs as people write them, made such that SQLAlchemy takes them with the drivers of the image.

The files beside the URI, a CA and a client certificate, become options of it; libpq reads them for each connection. What
would lead the driver to other files, other credentials or other code is refused: a URI names a database and a login.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

from tracking_operator.pod_tools.checks import CheckFailed

POSTGRESQL: Final = "postgresql"
SHORT: Final = "postgres"
"""What providers and libpq call it; SQLAlchemy has not taken it since 1.4 (https://docs.sqlalchemy.org/en/14/changelog/changelog_14.html)."""
DRIVER: Final = "psycopg2"
"""What SQLAlchemy took where a URI names none, until 2.1 took another one."""
DRIVERS_ON_LIBPQ: Final = (DRIVER, "psycopg")
"""Those that take libpq's options (https://www.postgresql.org/docs/current/libpq-connect.html)."""

CA_FILE: Final = "ca.crt"
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
CAS_OF_IMAGE: Final = "/etc/ssl/certs/ca-certificates.crt"
VERIFY_FULL: Final = "verify-full"
VERIFYING: Final = ("verify-ca", VERIFY_FULL)

_PUBLIC_CAS: Final = re.compile(r"system|/etc/ssl/certs/[\w.-]+", re.ASCII)
"""The CAs that everybody knows, as libpq calls them and where Debian has them."""

PERMITTED_VALUES: Final = {
    "driver": re.compile("[^/]+"),  # of ODBC: its name, and no library
    "sslrootcert": _PUBLIC_CAS,
    "ssl_ca": _PUBLIC_CAS,
}
"""What options may say that could name a file as well."""

REFUSED_OPTIONS: Final = frozenset(
    {
        # libpq: other settings, other credentials, files that are read or written
        "dsn",
        "passfile",
        "service",
        "servicefile",
        "sslcert",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslkeylogfile",
        # MySQL's drivers: the same, and libraries that are loaded
        "allow_local_infile",
        "allow_local_infile_in_path",
        "client_flag",
        "client_flags",
        "default_auth",
        "local_infile",
        "oci_config_file",
        "openid_token_file",
        "option_files",
        "plugin_dir",
        "read_default_file",
        "read_default_group",
        "ssl_capath",
        "ssl_cert",
        "ssl_key",
        # ODBC and SQLAlchemy: libraries and code that are loaded
        "odbc_connect",
        "plugin",
    }
)
OPTION: Final = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
"""What an option may be called: psycopg2 writes names as they are into a line of settings, spaces and all."""


def read_uri(place: Path) -> str:
    """The database URI of a mounted Secret, with what is mounted beside it.

    Raises:
        CheckFailed: there is none, or one that cannot be used here.

    """
    uri = usable_uri(place.read_text())
    if not uri:
        raise CheckFailed("UnsupportedUri", "The Secret's database URI is empty: write a SQLAlchemy URI.")
    _require_harmless(uri)
    return _with_files(uri, place.parent)


def usable_uri(text: str) -> str:
    """The URI of a Secret: of PostgreSQL by its long name, and with psycopg2 where it names no driver and the image has that."""
    scheme, separator, rest = text.strip().partition("://")
    dialect, plus, driver = scheme.partition("+")
    if dialect not in (SHORT, POSTGRESQL):
        return text.strip()
    if not driver and find_spec(DRIVER) is not None:
        plus, driver = "+", DRIVER
    return f"{POSTGRESQL}{plus}{driver}{separator}{rest}"


def _require_harmless(uri: str) -> None:
    """Refuse options that name files, other settings or code, wherever SQLAlchemy may find options.

    A password may hold question marks and ampersands as they are: what looks like an option in it counts as one.
    """
    for part in re.split("[?&]", uri)[1:]:
        name, equals, value = (unquote_plus(one) for one in part.partition("="))
        if not equals:
            continue
        if not OPTION.fullmatch(name):
            raise CheckFailed(
                "UnsupportedUri",
                "The Secret's database URI has an option whose name is none: write ?name=value&name=value behind the "
                "database, and encode question marks and ampersands of a password (%3F, %26).",
            )
        name = name.lower()  # drivers of ODBC take any case
        permitted = PERMITTED_VALUES.get(name)
        if name in REFUSED_OPTIONS or (permitted and not permitted.fullmatch(value)):
            raise CheckFailed(
                "UnsupportedUri",
                f"The Secret's database URI has the option {name}, which leads to other files or code of the pod: take it "
                "out. A CA is named in spec.backendStore.external.caConfigMapRef, a client certificate in "
                "spec.backendStore.external.clientCertificateSecretRef.",
            )


def _with_files(uri: str, folder: Path) -> str:
    """The URI with the CA and the client certificate that are mounted in ``folder``; the server's certificate is verified."""
    ca, certificate = folder / CA_FILE, folder / CERTIFICATE_FILE
    if not (ca.is_file() or certificate.is_file()):
        return uri
    scheme, _, rest = uri.partition("://")
    dialect, _, driver = scheme.partition("+")
    if dialect != POSTGRESQL or driver not in DRIVERS_ON_LIBPQ:
        raise CheckFailed(
            "UnsupportedUri",
            "caConfigMapRef and clientCertificateSecretRef of spec.backendStore.external are for PostgreSQL: write "
            f"{POSTGRESQL}+{DRIVER}://… into the Secret, or take them out.",
        )
    _, has_options, query = _without_login(rest).partition("?")
    given = dict(parse_qsl(query))
    if ca.is_file():
        _require_verified(given)
    added = {"sslmode": given.get("sslmode", VERIFY_FULL)}
    if "sslrootcert" not in given:
        added["sslrootcert"] = str(ca if ca.is_file() else CAS_OF_IMAGE)
    if certificate.is_file():
        added |= {"sslcert": str(certificate), "sslkey": str(folder / KEY_FILE)}
    added = {name: value for name, value in added.items() if name not in given}
    return f"{uri}{'&' if has_options else '?'}{urlencode(added)}"


def _require_verified(given: dict[str, str]) -> None:
    """A CA that the specification names counts."""
    if "sslrootcert" in given:
        raise CheckFailed(
            "UnsupportedUri",
            "spec.backendStore.external.caConfigMapRef names a CA, and sslrootcert in the Secret's database URI another: "
            "take one of them out.",
        )
    if given.get("sslmode", VERIFY_FULL) not in VERIFYING:
        raise CheckFailed(
            "UnsupportedUri",
            "spec.backendStore.external.caConfigMapRef names a CA, and sslmode in the Secret's database URI asks for no "
            f"verification: take sslmode out, or write {VERIFY_FULL}.",
        )


def _without_login(rest: str) -> str:
    """Take user and password off what follows the scheme: SQLAlchemy lets a password hold all but an at sign."""
    login, at, place = rest.partition("@")
    return place if at and "/" not in login.partition(":")[0] else rest
