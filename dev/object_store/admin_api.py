"""The users of a versitygw, by its admin API: PATCH requests with XML bodies, signed as S3 requests are.

Source: versitygw 1.8, s3api/controllers/admin.go and cmd/internal/gwcli/admin.go.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from dev.local_cluster.failures import ClusterError
from dev.object_store.manifests import REGION
from tracking_operator.stores.s3.bucket_address import Keys

Role = Literal["admin", "userplus", "user"]

SECONDS_TO_ANSWER = 10
FIRST_ERROR = 400


@dataclass(frozen=True)
class User:
    """A user of the gateway: an admin may do everything, a userplus may make buckets, a user what policies say."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    role: Role = "user"

    @property
    def keys(self) -> Keys:
        """With what the user signs requests."""
        return Keys(self.access_key_id, self.secret_access_key, source=f"the user {self.access_key_id}")


@dataclass(frozen=True)
class AdminApi:
    """The admin API at a URL. ``ca_file`` is the path of the authority's certificate; None over plain HTTP.

    Every method raises ClusterError when the gateway refuses, and botocore.exceptions.HTTPClientError when it does
    not answer.
    """

    url: str
    keys: Keys
    ca_file: str | None = None

    def users(self) -> dict[str, User]:
        """All users by their access key id; root is none of them."""
        answer = ET.fromstring(self._ask("list-users"))  # noqa: S314 - our own server's
        found = (_read(account) for account in answer.iter("Accounts"))
        return {user.access_key_id: user for user in found}

    def keep(self, user: User) -> None:
        """Make a user, or give an existing one this secret and this role; nothing is sent if it is so already."""
        known = self.users().get(user.access_key_id)
        if known is None:
            self._ask("create-user", body=_written("Account", user))
        elif known != user:
            self._ask(
                f"update-user?{urlencode({'access': user.access_key_id})}", _written("MutableProps", user)
            )

    def remove(self, access_key_id: str) -> None:
        """Remove a user; nothing happens if there is none."""
        self._ask(f"delete-user?{urlencode({'access': access_key_id})}")

    def _ask(self, path: str, body: bytes = b"") -> bytes:
        checksum = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        request = AWSRequest("PATCH", f"{self.url}/{path}", headers=checksum, data=body)
        credentials = Credentials(self.keys.access_key_id, self.keys.secret_access_key)
        SigV4Auth(credentials, "s3", REGION).add_auth(request)
        # The stubs do not know that a file of certificates may be named here.
        verify: bool = self.ca_file or True  # type: ignore[assignment]
        answer = URLLib3Session(verify=verify, timeout=SECONDS_TO_ANSWER).send(request.prepare())
        if answer.status_code >= FIRST_ERROR:
            action = path.partition("?")[0]
            raise ClusterError(
                f"versitygw answers {answer.status_code} to {action} of {self.keys.access_key_id}: {answer.text}"
            )
        return bytes(answer.content)


def _written(kind: str, user: User) -> bytes:
    root = ET.Element(kind)
    named = {"Access": user.access_key_id, "Secret": user.secret_access_key, "Role": user.role}
    for name, text in named.items():
        ET.SubElement(root, name).text = text
    return ET.tostring(root)


def _read(account: ET.Element) -> User:
    texts = {child.tag: child.text or "" for child in account}
    role: Role = (
        "admin" if texts["Role"] == "admin" else "userplus" if texts["Role"] == "userplus" else "user"
    )
    return User(texts["Access"], texts["Secret"], role)
