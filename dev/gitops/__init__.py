"""Argo CD in the development cluster, compiled from its Go module, and a Git server from which it applies tracking servers."""

from dev.gitops.argo_cd import ArgoCd, State, state_of
from dev.gitops.deployment import Comparison, compare_by, deploy_argo_cd

__all__ = ["ArgoCd", "Comparison", "State", "compare_by", "deploy_argo_cd", "state_of"]
