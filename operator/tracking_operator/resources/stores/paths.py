"""Where pods find their stores."""

from typing import Final

CREDENTIALS: Final = "/etc/mlflow"
"""Below it Secrets are mounted."""

BACKEND_STORE: Final = "/mlflow/backend-store"
BACKEND_STORE_CREDENTIALS: Final = "/etc/mlflow/backend-store"
"""The Secret of the backend store."""

ARTIFACT_STORE: Final = "/mlflow/artifact-store"
ARTIFACT_STORE_CREDENTIALS: Final = "/etc/mlflow/artifact-store"
"""The Secret of the artifact store."""
