"""Users of versitygw, by its admin API: https://github.com/versity/versitygw/wiki/Admin-APIs.

A user has one key, whose access part is the user's name, so that two users of a server take turns when its keys
rotate. Requests are signed as those for S3; bodies are XML. The list of users comes with their secrets, and so it is
never logged and never part of a message.
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tracking_operator.passwords import new_password
from tracking_operator.stores.ca_files import ca_file
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.clients import WORK, credentials_of
from tracking_operator.stores.s3.errors import asking
from tracking_operator.stores.s3.tenant import Admin, VersitygwUser

ROLE: Final = "user"
"""What may do what policies allow, and nothing else; unlike userplus it cannot make buckets."""
OK: Final = 300
"""Answers with this status or a higher one are errors."""


@dataclass(frozen=True)
class User:
    """A user as the gateway knows it."""

    name: str
    secret: str = field(repr=False)
    role: str

    def works_with(self, keys: Keys | None) -> bool:
        """Whether ``keys`` are this user's."""
        return keys is not None and (keys.access_key_id, keys.secret_access_key) == (self.name, self.secret)


@dataclass(frozen=True)
class UserAdmin:
    """The gateway's users, as its admin sees and makes them."""

    admin: Admin
    identity: VersitygwUser

    @property
    def endpoint(self) -> str:
        """The URL of the admin API."""
        return self.identity.admin_endpoint or self.admin.bucket.endpoint or ""

    @property
    def where(self) -> str:
        """How a sentence calls the admin API."""
        return f"The admin API of versitygw at {self.endpoint}"

    def users(self) -> dict[str, User]:
        """All users of the gateway, by name; one request. Raises Failure."""
        answer = self._document("list-users", doing="list its users")
        found = answer.iter("Accounts")
        users = [
            User(one.findtext("Access", ""), one.findtext("Secret", ""), one.findtext("Role", ""))
            for one in found
        ]
        return {user.name: user for user in users}

    def create(self, name: str) -> Keys:
        """Make a user. Raises Failure; it exists already: Unavailable."""
        secret = new_password()
        body = (
            f"<Account><Access>{escape(name)}</Access><Secret>{secret}</Secret><Role>{ROLE}</Role>"
            "<UserID>0</UserID><GroupID>0</GroupID><ProjectID>0</ProjectID></Account>"
        )
        self._request("create-user", body, doing=f"create user {name}")
        return keys_of(name, secret)

    def renew(self, name: str) -> Keys:
        """Give a user another secret; the old one is void at once. Raises Failure."""
        secret = new_password()
        body = f"<MutableProps><Secret>{secret}</Secret><Role>{ROLE}</Role></MutableProps>"
        self._request(
            f"update-user?access={quote(name, safe='')}", body, doing=f"renew the key of user {name}"
        )
        return keys_of(name, secret)

    def restrict(self, name: str) -> None:
        """Make a user one that may do what policies allow, and nothing else. Raises Failure."""
        body = f"<MutableProps><Role>{ROLE}</Role></MutableProps>"
        self._request(f"update-user?access={quote(name, safe='')}", body, doing=f"restrict user {name}")

    def delete(self, name: str) -> None:
        """Remove a user; nothing happens if it is gone. Raises Failure."""
        self._request(f"delete-user?access={quote(name, safe='')}", doing=f"delete user {name}")

    def _document(self, call: str, *, doing: str) -> ET.Element:
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        answer = self._request(call, doing=doing)
        with asking(self.admin, doing, "the role admin in versitygw", self.where):
            try:
                return ET.fromstring(answer)  # noqa: S314 — of the admin's own gateway
            except ET.ParseError as error:
                raise ResponseParserError("no XML") from error

    def _request(self, call: str, body: str = "", *, doing: str) -> str:
        """Send one signed request; the text of the answer."""
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.exceptions import NoCredentialsError  # noqa: PLC0415
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415

        bucket = self.admin.bucket
        with asking(self.admin, doing, "the role admin in versitygw", self.where):
            credentials = credentials_of(self.admin)
            if credentials is None:
                raise NoCredentialsError
            request = AWSRequest("PATCH", f"{self.endpoint}/{call}", data=body.encode())
            S3SigV4Auth(credentials, "s3", bucket.region).add_auth(request)
            # The types know neither a file of CAs nor two time-outs, which it takes like the SDK's own clients do.
            http = URLLib3Session(
                verify=ca_file(bucket.ca_certificates) or True,  # type: ignore[arg-type]
                timeout=(WORK.connect, WORK.read),  # type: ignore[arg-type]
            )
            try:
                answer = http.send(request.prepare())
                text = answer.content.decode(errors="replace")
            finally:
                http.close()
            if answer.status_code >= OK:
                raise _error(call, answer.status_code, text)
            return text


def keys_of(name: str, secret: str) -> Keys:
    """A user's keys."""
    return Keys(name, secret, source=f"versitygw's user {name}")


def _error(call: str, status: int, text: str) -> Exception:
    """The answer in the form of the SDK's errors, so that it is understood like those."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        found = ET.fromstring(text)  # noqa: S314
        code, message = found.findtext("Code", str(status)), found.findtext("Message", "")
        region = found.findtext("Region", "")
    except ET.ParseError:
        code, message, region = str(status), text[:100], ""
    response = {
        "Error": {"Code": code, "Message": message, **({"Region": region} if region else {})},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}},
    }
    return ClientError(response, call.partition("?")[0])  # type: ignore[arg-type]
