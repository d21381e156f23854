"""The Helm chart: its templates are made from what kustomize makes of manifests/, its values from pydantic models."""
