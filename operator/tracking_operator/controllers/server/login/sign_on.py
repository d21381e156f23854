"""The Secret of the proxy that logs people in at an identity provider, made from the server's passwords."""

from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import LocalObjectReference
from tracking_operator.controllers.server.children.certificates import holds_certificates
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server_class.class_secrets import ClassSecrets
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Waiting
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.sign_on_secret import build_sign_on_secret
from tracking_operator.resources.single_sign_on import SingleSignOn

CA_FIELD = "access.authentication.oidc.caBundleRef"


class SignOnSecrets:
    """Sees to the Secrets ``NAME-oidc``."""

    def __init__(self, secrets: ManagedSecrets, of_classes: ClassSecrets) -> None:
        self._secrets = secrets
        self._of_classes = of_classes

    async def ensure(
        self, server: ServerModel, sign_on: SingleSignOn, credentials: LoginCredentials, *, fresh: bool
    ) -> None:
        """Make the Secret as it should be; with ``fresh`` the class's CA is read again.

        Raises:
            Failure: it cannot be made, or the CA is not there.

        """
        certificates = await self._certificates(sign_on, fresh=fresh)
        await self._secrets.write(server, build_sign_on_secret(server, sign_on, credentials, certificates))

    async def _certificates(self, sign_on: SingleSignOn, *, fresh: bool) -> str | None:
        name = sign_on.ca_config_map
        if name is None:
            return None
        found = await self._of_classes.ca_certificates(LocalObjectReference(name=name), CA_FIELD, fresh=fresh)
        if not holds_certificates(found or ""):
            raise Waiting(
                Reason.TLS_FAILED,
                f"ConfigMap {name!r} in the operator's namespace, which {CA_FIELD} of the class names, has no certificates that can "
                "be read under the key ca.crt: write them in PEM, or name another.",
                retry_after=UNWATCHED_RETRY_SECONDS,
            )
        return found
