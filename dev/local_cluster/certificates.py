"""The cluster's certificate authority, its programs' certificates and their kubeconfigs."""

import base64
import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dev.local_cluster.layout import Layout

LIFETIME = dt.timedelta(days=3650)
CLOCK_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """A certificate to make: file name, user, group, and the names and addresses it serves."""

    name: str
    user: str
    group: str = ""
    hosts: tuple[str, ...] = ()


def make_certificates(layout: Layout) -> None:
    """Write the authority, one certificate and key per program, and the kubeconfigs of the API server's clients."""
    layout.certificates.mkdir(parents=True)
    layout.certificates.chmod(0o700)
    authority = Authority(layout.certificates)
    for identity in _servers(layout) + _clients(layout):
        authority.issue(identity)
    _write_key(layout.certificates / "service-accounts.key", _new_key())
    for identity in _clients(layout):
        write_kubeconfig(layout, identity.name, layout.certificates / f"{identity.name}.kubeconfig")


def write_kubeconfig(layout: Layout, identity: str, target: Path) -> None:
    """Write a kubeconfig that stands alone: its certificates are in the file."""
    folder = layout.certificates
    cluster = {"server": layout.server, "certificate-authority-data": _encoded(folder / "ca.crt")}
    user = {
        "client-certificate-data": _encoded(folder / f"{identity}.crt"),
        "client-key-data": _encoded(folder / f"{identity}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": identity}}],
        "current-context": layout.name,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(config, sort_keys=False))


def _servers(layout: Layout) -> list[Identity]:
    api_server_hosts = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        layout.node_address,
        layout.api_service_address,
    )
    return [
        Identity("kube-apiserver", "kube-apiserver", hosts=api_server_hosts),
        Identity("kubelet-server", layout.node_name, hosts=(layout.node_name, layout.node_address)),
    ]


def _clients(layout: Layout) -> list[Identity]:
    return [
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("kube-controller-manager", "system:kube-controller-manager"),
        Identity("kube-scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("kube-router", "kube-router", "system:masters"),
        Identity("kubelet", f"system:node:{layout.node_name}", "system:nodes"),
    ]


class Authority:
    """A new certificate authority that signs certificates into one folder; its own is `ca.crt` there."""

    def __init__(self, folder: Path, name: str = "tracking-operator development cluster") -> None:
        self._folder = folder
        self._key = _new_key()
        self._subject = _name(name)
        certificate = (
            _builder(self._subject, self._subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write_certificate(folder / "ca.crt", certificate)
        _write_key(folder / "ca.key", self._key)

    def issue(self, identity: Identity) -> None:
        """Write `<identity.name>.crt` and `<identity.name>.key`."""
        key = _new_key()
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if identity.hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(_name(identity.user, identity.group), self._subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if identity.hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in identity.hosts])
            builder = builder.add_extension(names, critical=False)
        _write_certificate(self._folder / f"{identity.name}.crt", builder.sign(self._key, hashes.SHA256()))
        _write_key(self._folder / f"{identity.name}.key", key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(user: str, group: str = "") -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _write_certificate(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
