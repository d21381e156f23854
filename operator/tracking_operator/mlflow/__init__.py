"""MLflow's REST API, as far as the operator asks it anything. Knows no CRD and no Kubernetes."""
