"""Certificates for tests: a CA, and what it signs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A CA, which signs certificates of servers and clients."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> "Authority":
        return cls(_name("test CA"), ec.generate_private_key(ec.SECP256R1()))

    @property
    def certificate(self) -> str:
        """Its own certificate, in PEM."""
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        return self._signed(
            _certificate(self.name, self.key, self.name).add_extension(constraints, critical=True)
        )

    def issue(self, common_name: str, *host_names: str) -> tuple[str, str]:
        """A certificate and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [
            x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in host_names or (common_name,)
        ]
        certificate = _certificate(_name(common_name), key, self.name).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._signed(certificate), pem.decode()

    def _signed(self, builder: x509.CertificateBuilder) -> str:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def make_certificates(*host_names: str) -> tuple[str, str, str]:
    """A CA's certificate, and the certificate and key of a server that has these names; all PEM."""
    authority = Authority.new()
    return authority.certificate, *authority.issue("test server", *host_names)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
