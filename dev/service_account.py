"""Acting in a development cluster as a ServiceAccount, with no more rights than it has."""

import yaml

from dev.development_cluster import DevelopmentCluster


def kubeconfig_of(cluster: DevelopmentCluster, namespace: str, account: str) -> str:
    """A kubeconfig, as text, whose every user is the ServiceAccount, by a token that lasts four hours."""
    token = cluster.kubectl("create", "token", account, "--namespace", namespace, "--duration=4h").strip()
    kubeconfig = yaml.safe_load(cluster.kubeconfig_path.read_text())
    for user in kubeconfig["users"]:
        user["user"] = {"token": token}
    return yaml.safe_dump(kubeconfig)
