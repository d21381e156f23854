"""Each rule of the CRDs, on a real API server: what it lets in, what it refuses, and its sentence."""

import json

import pytest

from dev.classes import generous
from tests.cluster.api_manifests import ApiServer, Cluster, Manifest, tracking_server, tracking_server_class
from tracking_operator.api.crds import all_crds

LET_IN = None

NAMES = [
    ("a plain name", "mlflow", LET_IN),
    ("one letter", "m", LET_IN),
    ("digits and dashes inside", "team-1-mlflow", LET_IN),
    ("40 characters", "m" * 40, LET_IN),
    ("41 characters", "m" * 41, "metadata.name may have at most 40 characters"),
    ("200 characters", "m" * 200, "metadata.name may have at most 40 characters"),
    ("the name of a ServiceAccount that is there already", "default", "metadata.name may not be default"),
    ("a digit in front", "1mlflow", "metadata.name must begin with a lower-case letter"),
    ("a dot", "ml.flow", "metadata.name must begin with a lower-case letter"),
    ("capitals", "MLflow", "metadata.name"),
]

SECRET_URI = {"uriSecretRef": {"name": "my-db", "key": "uri"}}
ONE_BACKEND_STORE = (
    "spec.backendStore: Invalid value: backendStore has more than one of postgres, sqlite and external; "
    "keep the one to use and remove the others"
)
BUCKET = {"uri": "s3://bucket/path", "credentialsSecretRef": {"name": "my-keys"}}


def with_provider(**more: object) -> Manifest:
    """A class whose people log in at an identity provider."""
    usual = {
        "image": "registry/oauth2-proxy:v7.15.6",
        "issuer": "https://idp.example.com",
        "clientId": "mlflow.{{ namespace }}.{{ name }}",
        "allowedGroups": ["mlflow-{{ namespace }}"],
    }
    return {"access": {"authentication": {"oidc": usual | more}}}


SERVERS: list[tuple[str, Manifest, str | None]] = [
    ("nothing", {}, LET_IN),
    ("times to sleep", {"sleep": {"schedule": [
        {"from": "20:00", "to": "07:00", "days": ["Mon-Fri"], "timeZone": "Europe/Berlin"},
        {"from": "00:00", "to": "00:00", "days": ["Sat", "Sun"]}], "afterIdle": "2h"}}, LET_IN),
    ("a time of the day that is none", {"sleep": {"schedule": [{"from": "24:00", "to": "07:00"}]}},
     "must be a time of the day from \"00:00\" to \"23:59\""),
    ("a time to sleep without an end", {"sleep": {"schedule": [{"from": "20:00"}]}}, "spec.sleep.schedule[0].to: Required value"),
    ("a day that is none", {"sleep": {"schedule": [{"from": "20:00", "to": "07:00", "days": ["Monday"]}]}},
     "must be a day or a range of days"),
    ("idle for minutes", {"sleep": {"afterIdle": "30m"}}, "must be a number of hours or days"),
    ("every field", {
        "className": "standard", "version": "3.17.2", "image": f"registry/mlflow@sha256:{64 * '0'}", "replicas": 1,
        "workers": 2, "suspend": False, "deletionPolicy": "Delete",
        "resources": {"requests": {"cpu": "250m", "memory": "640Mi"}, "limits": {"memory": "1Gi"}},
        "backendStore": {"sqlite": {"size": "1Gi", "storageClassName": "standard"}},
        "artifactStore": {"volume": {"size": "10Gi", "storageClassName": "standard", "accessMode": "ReadWriteMany"},
                          "proxied": True},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/mlflow"}},
        "podTemplate": {
            "labels": {"cost-centre": "42"}, "annotations": {"example.com/scrape": "true"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
                                                    "labelSelector": {"matchLabels": {"app": "mlflow"}}}}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                                           "whenUnsatisfiable": "ScheduleAnyway"}],
            "priorityClassName": "high",
            "env": [{"name": "AWS_REGION", "value": "eu-central-1"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory",
                                                                          "divisor": "1Mi"}}}],
            "envFrom": [{"prefix": "X_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
            "imagePullSecrets": [{"name": "registry"}],
        },
    }, LET_IN),

    # Typing errors
    ("an unknown field", {"backendStor": {}}, 'unknown field "spec.backendStor"'),
    ("an unknown field far inside", {"podTemplate": {"affinity": {"nodeAfinity": {}}}},
     'unknown field "spec.podTemplate.affinity.nodeAfinity"'),
    ("a number as version", {"version": 3.17}, "spec.version in body must be of type string"),

    # Version and image
    ("a version", {"version": "3.17.2"}, LET_IN),
    ("a version of two numbers", {"version": "3.17"}, "must be an exact MLflow release of three numbers"),
    ("a version with a v", {"version": "v3.17.2"}, "must be an exact MLflow release of three numbers"),
    ("a pre-release", {"version": "3.17.2rc1"}, "must be an exact MLflow release of three numbers"),
    ("an image with its version", {"image": "registry/mlflow", "version": "3.17.2"}, LET_IN),
    ("an image without its version", {"image": "registry/mlflow"}, "spec.version: Invalid value: image needs version"),

    ("an image with a space", {"image": "registry/ mlflow", "version": "3.17.2"},
     'spec.image: Invalid value: "registry/ mlflow": must be an image as a container'),

    # Numbers
    ("no replicas", {"replicas": 0}, LET_IN),
    ("several replicas of a store that the class decides", {"replicas": 3}, LET_IN),
    ("a negative number of replicas", {"replicas": -1}, "spec.replicas in body should be greater than or equal to 0"),
    *((f"the image {image}", {"image": image, "version": "3.17.2"}, LET_IN) for image in (
        "mlflow", "mlflow:3.17.2", "registry:5000/a/mlflow", "registry.example.com/a__b/c-d.e:v1_2.3",
        f"localhost/mlflow:1@sha256:{64 * 'a'}", "[::1]:5000/mlflow",
    )),
    *((f"the image {image}", {"image": image, "version": "3.17.2"},
       "spec.image: Invalid value: \"" + image + "\": must be an image as a container runtime reads it") for image in (
        "http://x/y:z", "a:b:c:d", "a b", "Mlflow", "mlflow:", "mlflow@sha256:0", "x//y", "mlflow:-a",
    )),
    ("32 workers", {"workers": 32}, LET_IN),
    ("no workers", {"workers": 0}, "spec.workers in body should be greater than or equal to 1"),
    ("33 workers", {"workers": 33}, "spec.workers in body should be less than or equal to 32"),

    # Quantities
    ("whole numbers as quantities", {"resources": {"requests": {"cpu": 1, "memory": 1073741824}}}, LET_IN),
    ("a malformed amount of memory", {"resources": {"limits": {"memory": "1Gigabyte"}}},
     'spec.resources.limits[memory]: Invalid value: "1Gigabyte": must be a Kubernetes quantity'),
    ("a negative amount", {"resources": {"limits": {"cpu": "-1"}}},
     'spec.resources.limits[cpu]: Invalid value: "-1": must be a Kubernetes quantity that is not negative'),
    ("a request equal to its limit, written differently",
     {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1024Mi"}}}, LET_IN),
    ("a request above its limit", {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}},
     "resources.requests may not be more than resources.limits"),
    ("a malformed size", {"backendStore": {"sqlite": {"size": "10Gb"}}},
     'spec.backendStore.sqlite.size: Invalid value: "10Gb": must be a Kubernetes quantity of bytes above zero'),
    ("a size of nothing", {"artifactStore": {"volume": {"size": 0}}},
     "spec.artifactStore.volume.size: Invalid value: 0: must be a Kubernetes quantity of bytes above zero"),
    ("exponents of two digits, and the suffixes that begin like one",
     {"resources": {"requests": {"cpu": "5e-01", "memory": "64E+07"}, "limits": {"memory": "1E", "example.com/a": "1Ei"}}},
     LET_IN),
    ("an exponent that Kubernetes cuts off", {"resources": {"limits": {"memory": "64e-4294967287"}}},
     "spec.resources.limits.memory in body should match"),
    ("an exponent of which only Kubernetes makes a number", {"resources": {"requests": {"cpu": "1e9223372036854775807"}}},
     "spec.resources.requests.cpu in body should match"),
    ("an exponent of three digits", {"resources": {"limits": {"memory": "1E+100"}}},
     "spec.resources.limits.memory in body should match"),
    ("a size with an exponent that Kubernetes cuts off", {"backendStore": {"sqlite": {"size": "64e-4294967287"}}},
     "spec.backendStore.sqlite.size in body should match"),
    ("a volume's size with a long exponent", {"artifactStore": {"volume": {"size": "1e4294967305"}}},
     "spec.artifactStore.volume.size in body should match"),
    ("a divisor with a long exponent",
     {"podTemplate": {"env": [{"name": "MEMORY", "valueFrom": {"resourceFieldRef": {
         "resource": "limits.memory", "divisor": "1e4294967296"}}}]}},
     "valueFrom.resourceFieldRef.divisor in body should match"),
    ("less memory than MLflow takes to start", {"resources": {"limits": {"memory": "1"}}},
     "resources.limits.memory may not be less than 256Mi"),
    ("less memory than MLflow takes to migrate", {"jobs": {"resources": {"limits": {"memory": "128Mi"}}}},
     "resources.limits.memory may not be less than 256Mi"),
    ("a topology key that no node can have",
     {"podTemplate": {"topologySpreadConstraints": [
         {"maxSkew": 1, "topologyKey": "not a key", "whenUnsatisfiable": "ScheduleAnyway"}]}},
     "must be the key of a node's label"),
    ("a topology key of an affinity that no node can have",
     {"podTemplate": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
         {"topologyKey": "/zone"}]}}}},
     "must be the key of a node's label"),
    ("a key in an affinity that no label can have",
     {"podTemplate": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
         "nodeSelectorTerms": [{"matchExpressions": [{"key": "a b", "operator": "Exists"}]}]}}}}},
     "in body should match"),
    ("a prefix of variables", {"podTemplate": {"envFrom": [{"prefix": "AWS_", "secretRef": {"name": "a"}}]}}, LET_IN),
    *((f"the prefix {prefix} of variables",
       {"podTemplate": {"envFrom": [{"prefix": prefix, "secretRef": {"name": "a"}}]}},
       "must be how the name of a variable begins") for prefix in ("1_", "A B", "a=")),
    ("one pod stopped before the next", {"podTemplate": {"rollout": {"strategy": "StopFirst"}}}, LET_IN),
    ("a fraction of a core without quotes", {"resources": {"limits": {"cpu": 0.5}}},
     "spec.resources.limits.cpu in body must be of type integer,string"),

    # Backend store
    ("SQLite", {"backendStore": {"sqlite": {}}}, LET_IN),
    ("an external database", {"backendStore": {"external": SECRET_URI}}, LET_IN),
    ("no store named", {"backendStore": {}}, LET_IN),
    ("PostgreSQL", {"backendStore": {"postgres": {}}}, LET_IN),
    ("PostgreSQL and SQLite", {"backendStore": {"postgres": {}, "sqlite": {}}}, ONE_BACKEND_STORE),
    ("PostgreSQL and an external database", {"backendStore": {"postgres": {}, "external": SECRET_URI}},
     ONE_BACKEND_STORE),
    ("SQLite and an external database", {"backendStore": {"sqlite": {}, "external": SECRET_URI}}, ONE_BACKEND_STORE),
    ("three backend stores", {"backendStore": {"postgres": {}, "sqlite": {}, "external": SECRET_URI}},
     ONE_BACKEND_STORE),
    ("one connection", {"backendStore": {"postgres": {"connectionLimit": 1}}}, LET_IN),
    ("no connection", {"backendStore": {"postgres": {"connectionLimit": 0}}},
     "spec.backendStore.postgres.connectionLimit in body should be greater than or equal to 1"),
    ("more connections than a server has", {"backendStore": {"postgres": {"connectionLimit": 10001}}},
     "spec.backendStore.postgres.connectionLimit in body should be less than or equal to 10000"),
    ("an address of one's own", {"backendStore": {"postgres": {"host": "pg.db.svc"}}},
     'unknown field "spec.backendStore.postgres.host"'),
    ("an external database without its Secret", {"backendStore": {"external": {}}},
     "spec.backendStore.external.uriSecretRef: Required value"),
    ("a Secret name that is a path", {"backendStore": {"external": {"uriSecretRef": {"name": "../x", "key": "uri"}}}},
     "must be the name of a Kubernetes object"),
    ("a Secret's key that is a path", {"backendStore": {"external": {"uriSecretRef": {"name": "x", "key": "../uri"}}}},
     "must be a key of letters, digits"),
    ("an external database with a CA and a client certificate", {"backendStore": {"external": {
        **SECRET_URI, "caConfigMapRef": {"name": "ca"}, "clientCertificateSecretRef": {"name": "tls"}}}}, LET_IN),
    ("one replica on SQLite", {"replicas": 1, "backendStore": {"sqlite": {}}}, LET_IN),
    ("three replicas on PostgreSQL", {"replicas": 3, "backendStore": {"postgres": {}}}, LET_IN),
    ("three replicas on PostgreSQL, with artifacts on a volume of one node",
     {"replicas": 3, "backendStore": {"postgres": {}}, "artifactStore": {"volume": {}}},
     "replicas must be 0 or 1 unless artifactStore.volume.accessMode is ReadWriteMany"),
    ("two replicas on SQLite", {"replicas": 2, "backendStore": {"sqlite": {}}},
     "spec.replicas: Invalid value: replicas must be 0 or 1 with backendStore.sqlite, because only one pod can use the "
     "file; use backendStore.postgres or an external database for more"),
    ("two replicas on an external database", {"replicas": 2, "backendStore": {"external": SECRET_URI}}, LET_IN),

    # Artifact store
    ("a volume", {"artifactStore": {"volume": {}}}, LET_IN),
    ("a bucket", {"artifactStore": {"external": BUCKET}}, LET_IN),
    ("a bucket that clients reach themselves", {"artifactStore": {"external": BUCKET, "proxied": False}}, LET_IN),
    ("Google", {"artifactStore": {"external": {"uri": "gs://bucket"}}}, LET_IN),
    ("Azure", {"artifactStore": {"external": {"uri": "abfss://box@account.dfs.core.windows.net/path"}}}, LET_IN),
    ("Azure's older scheme", {"artifactStore": {"external": {"uri": "wasbs://box@account.blob.core.windows.net"}}},
     LET_IN),
    ("a bucket of another S3 server", {"artifactStore": {"external": {
        **BUCKET, "endpoint": "https://s3.example.com:9000", "region": "eu-central-1", "addressingStyle": "virtual",
        "caConfigMapRef": {"name": "ca"}}}}, LET_IN),
    ("a CA for an S3 server without TLS", {"artifactStore": {"external": {
        **BUCKET, "endpoint": "http://s3.example.com:9000", "caConfigMapRef": {"name": "ca"}}}},
     "spec.artifactStore.external.endpoint: Invalid value: artifactStore.external.endpoint must begin with https://"),
    ("an S3 server with a path", {"artifactStore": {"external": {**BUCKET, "endpoint": "https://s3.example.com/x"}}},
     "must be a URL of scheme, host and port without a path"),
    *((f"{field} for Google", {"artifactStore": {"external": {"uri": "gs://bucket", field: value}}},
       "endpoint, region, addressingStyle and caConfigMapRef of artifactStore.external are for s3:// only")
      for field, value in (("endpoint", "https://x"), ("region", "x"), ("addressingStyle", "path"),
                           ("caConfigMapRef", {"name": "ca"}))),
    ("a folder as bucket", {"artifactStore": {"external": {"uri": "file:///tmp"}}},
     'spec.artifactStore.external.uri: Invalid value: "file:///tmp": must be a bucket or container'),
    ("a bucket without a name", {"artifactStore": {"external": {"uri": "s3:///path"}}}, "must be a bucket or container"),
    ("two artifact stores", {"artifactStore": {"volume": {}, "external": BUCKET}},
     "spec.artifactStore: Invalid value: artifactStore has more than one of s3, external and volume"),
    ("an unknown access mode", {"artifactStore": {"volume": {"accessMode": "ReadWriteAll"}}},
     'supported values: "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"'),
    ("a volume that clients should reach themselves", {"artifactStore": {"volume": {}, "proxied": False}},
     "spec.artifactStore.proxied: Invalid value: artifactStore.proxied: false needs artifactStore.s3 or artifactStore.external"),
    ("clients that should reach whatever store the class has", {"artifactStore": {"proxied": False}}, LET_IN),
    ("a prefix in the class's bucket", {"artifactStore": {"s3": {}}}, LET_IN),
    ("a prefix that clients reach themselves", {"artifactStore": {"s3": {}, "proxied": False}}, LET_IN),
    ("a prefix and a volume", {"artifactStore": {"s3": {}, "volume": {}}},
     "spec.artifactStore: Invalid value: artifactStore has more than one of s3, external and volume"),
    ("two replicas on a volume of the default access mode", {"replicas": 2, "artifactStore": {"volume": {}}},
     "spec.replicas: Invalid value: replicas must be 0 or 1 unless artifactStore.volume.accessMode is ReadWriteMany"),
    ("two replicas on a volume for one node",
     {"replicas": 2, "artifactStore": {"volume": {"accessMode": "ReadWriteOnce"}}},
     "replicas must be 0 or 1 unless artifactStore.volume.accessMode is ReadWriteMany"),
    ("two replicas on a shared volume",
     {"replicas": 2, "artifactStore": {"volume": {"accessMode": "ReadWriteMany"}}}, LET_IN),

    # Access
    ("an address of one's own",
     {"access": {"host": "mlflow.team-a.example.com", "path": "/team-a/mlflow", "authentication": {"basic": {}},
                 "allowedHosts": ["*.example.com:*", "10.0.0.1:8080"],
                 "allowedOrigins": ["https://notebooks.example.com", "http://localhost:8888"]}}, LET_IN),
    ("the root as path", {"access": {"path": "/"}}, LET_IN),
    ("a host with capitals", {"access": {"host": "MLflow.example.com"}},
     'spec.access.host: Invalid value: "MLflow.example.com": must be a host name of lower-case letters'),
    ("a host with a port", {"access": {"host": "mlflow.example.com:8080"}}, "without scheme, port or path, for example"),
    ("a host with a scheme", {"access": {"host": "https://mlflow.example.com"}}, "without scheme, port or path"),
    ("a host with a star", {"access": {"host": "*.example.com"}}, "spec.access.host: Invalid value"),
    ("a host with a dot at its end", {"access": {"host": "mlflow.example.com."}}, "spec.access.host: Invalid value"),
    ("a host with a comma", {"access": {"host": "a.example.com,b.example.com"}}, "spec.access.host: Invalid value"),
    ("an empty host", {"access": {"host": ""}}, "spec.access.host"),
    ("a path without a slash in front", {"access": {"path": "team-a"}},
     'spec.access.path: Invalid value: "team-a": must begin with \'/\' and not end with one'),
    ("a path with a slash at its end", {"access": {"path": "/team-a/"}}, "must begin with '/' and not end with one"),
    ("a path that goes up", {"access": {"path": "/team-a/../team-b"}}, "that do not begin with '.'"),
    ("a path with two slashes", {"access": {"path": "/team-a//b"}}, "spec.access.path: Invalid value"),
    ("a path with a space", {"access": {"path": "/team a"}}, "spec.access.path: Invalid value"),
    ("a path with a percent sign", {"access": {"path": "/team%2Fa"}}, "spec.access.path: Invalid value"),
    ("a path with a pattern", {"access": {"path": "/team-a/(.*)"}}, "spec.access.path: Invalid value"),
    ("a further host that is an address with a path", {"access": {"allowedHosts": ["example.com/a"]}},
     "spec.access.allowedHosts[0]: Invalid value"),
    ("all hosts", {"access": {"allowedHosts": ["*"]}}, "spec.access.allowedHosts[0]: Invalid value"),
    ("two further hosts in one", {"access": {"allowedHosts": ["a.com,b.com"]}},
     "spec.access.allowedHosts[0]: Invalid value"),
    ("a further host twice", {"access": {"allowedHosts": ["a.com", "a.com"]}},
     "spec.access.allowedHosts[1]: Duplicate value"),
    ("an origin without a scheme", {"access": {"allowedOrigins": ["notebooks.example.com"]}},
     "must be scheme and host, with a port where it is not the scheme's own and without a path"),
    ("an origin with a path", {"access": {"allowedOrigins": ["https://notebooks.example.com/lab"]}},
     "spec.access.allowedOrigins[0]: Invalid value"),
    ("all origins", {"access": {"allowedOrigins": ["*"]}}, "spec.access.allowedOrigins[0]: Invalid value"),
    ("no kind of login", {"access": {"authentication": {}}}, "authentication needs exactly one of basic, oidc and none"),
    ("a login at the provider", {"access": {"authentication": {"oidc": {"allowedGroups": ["ml-guests"]}}}}, LET_IN),
    ("a group that reads like two", {"access": {"authentication": {"oidc": {"allowedGroups": ["a,b"]}}}},
     "without commas, double quotes and $"),
    ("two kinds of login", {"access": {"authentication": {"basic": {}, "none": {}}}},
     "authentication needs exactly one of basic, oidc and none"),

    # Words
    ("an unknown deletion policy", {"deletionPolicy": "Keep"}, 'supported values: "Retain", "Delete"'),
    ("a class name with capitals", {"className": "Standard"}, "must be the name of a Kubernetes object"),

    # Pods
    ("a variable that the operator sets", {"podTemplate": {"env": [{"name": "MLFLOW_BACKEND_STORE_URI"}]}},
     "podTemplate.env may not set MLFLOW_BACKEND_STORE_URI"),
    ("a variable that MLflow sets", {"podTemplate": {"env": [{"name": "_MLFLOW_SERVER_FILE_STORE"}]}},
     "podTemplate.env may not set _MLFLOW_SERVER_FILE_STORE"),
    ("a variable of MLflow's client for S3",
     {"podTemplate": {"env": [{"name": "MLFLOW_S3_ENDPOINT_URL", "value": "http://s3.s3.svc"}]}}, LET_IN),
    ("a variable twice", {"podTemplate": {"env": [{"name": "A"}, {"name": "A"}]}}, "spec.podTemplate.env[1]: Duplicate"),
    ("a variable with two values",
     {"podTemplate": {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}},
     "podTemplate.env entries have either value or valueFrom"),
    ("a variable from nowhere", {"podTemplate": {"env": [{"name": "A", "valueFrom": {}}]}},
     "valueFrom must have exactly one of"),
    ("variables from nowhere", {"podTemplate": {"envFrom": [{"prefix": "A_"}]}},
     "envFrom entries must have exactly one of configMapRef and secretRef"),
    ("a label of the operator", {"podTemplate": {"labels": {"tracking-operator.dev/tracking-server": "other"}}},
     "spec.podTemplate.labels: Invalid value: podTemplate.labels may not begin with"),
    ("a label that Services select by", {"podTemplate": {"labels": {"app.kubernetes.io/name": "other"}}},
     "podTemplate.labels may not begin with"),
    ("an annotation of the operator", {"podTemplate": {"annotations": {"tracking-operator.dev/applied": "x"}}},
     "spec.podTemplate.annotations: Invalid value: podTemplate.annotations may not begin with"),
    ("a label with a space", {"podTemplate": {"labels": {"team": "data science"}}},
     'spec.podTemplate.labels[team]: Invalid value: "data science": must be empty or letters, digits'),
    ("a label whose key has a space", {"podTemplate": {"labels": {"data team": "a"}}},
     "spec.podTemplate.labels: Invalid value: keys must be letters, digits"),
    ("an annotation whose key has a space", {"serviceAccount": {"annotations": {"role arn": "a"}}},
     "spec.serviceAccount.annotations: Invalid value: keys must be letters, digits"),
    ("a variable with a space", {"podTemplate": {"env": [{"name": "A B"}]}}, "must be the name of a variable"),
    ("a selector without values", {"podTemplate": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
         "labelSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}]}},
     "values must be given with operator In and NotIn"),
    ("an unknown effect", {"podTemplate": {"tolerations": [{"effect": "Never"}]}}, 'supported values: "NoSchedule"'),
]  # fmt: skip

ADMIN = {"adminSecretRef": {"name": "pg-admin"}}
NO_HOST_NAME = "spec.postgres.host: Invalid value: {}: must be one host name or address without a port"
TOO_MANY_CONNECTIONS = "spec.postgres.connectionLimit: Invalid value: postgres.connectionLimit may not be more than limits.maxConnections"
NO_DURATION = (
    "spec.postgres.rotateEvery: Invalid value: {}: must be a number of hours or days, such as 12h or 90d"
)


def postgres(**fields: object) -> Manifest:
    """The specification of a class with a PostgreSQL server, described by these fields."""
    return {"postgres": {"host": "pg.db.svc", **ADMIN, **fields}}


VERSITYGW: Manifest = {"endpoint": "http://s3.s3.svc:7070", "identity": {"versitygw": {}}}
NO_ENDPOINT = "spec.s3.endpoint: Invalid value: {}: must be a URL of scheme, host and port without a path"
NO_BUCKET = "spec.s3.bucket: Invalid value: {}: must be the name of a bucket"


def s3(**fields: object) -> Manifest:
    """The specification of a class with a bucket, described by these fields."""
    return {"s3": {"bucket": "ml-artifacts", "identity": {"secret": {}}, **fields}}


CLASSES: list[tuple[str, Manifest, str | None]] = [
    ("nothing", {}, LET_IN),
    ("every field", {
        "allowedNamespaces": {"matchLabels": {"mlflow": "true"},
                              "matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]},
        "mlflow": {"versions": [{"version": "3.16.1", "image": "registry/mlflow:3.16.1"},
                                {"version": "3.17.2", "image": "registry/mlflow:3.17.2"}],
                   "defaultVersion": "3.17.2"},
        "naming": {"host": "{{ name }}.{{ namespace }}.mlflow.example.com", "path": "/",
                   "database": "{{ namespace }}_{{ name }}", "artifactPrefix": "{{ namespace }}/{{ name }}"},
        "postgres": {"host": "pg.db.svc", "port": 5432, "adminSecretRef": {"name": "pg-admin"},
                     "maintenanceDatabase": "postgres", "sslMode": "verify-full",
                     "caConfigMapRef": {"name": "pg-ca"}, "connectionLimit": 20, "allowSuperuser": False,
                     "rotateEvery": "90d"},
        "s3": {"bucket": "ml-artifacts", "region": "eu-central-1", "endpoint": "https://s3.example.com:9000",
               "addressingStyle": "path", "caConfigMapRef": {"name": "s3-ca"}, "isolation": "bucketPolicy",
               "identity": {"iamUser": {"path": "/mlflow/", "endpoint": "https://iam.example.com", "rotateEvery": "90d",
                                        "permissionsBoundary": "arn:aws:iam::123456789012:policy/mlflow"}},
               "adminSecretRef": {"name": "s3-admin"}, "requireEncryption": "AES256",
               "create": {"versioning": True, "encryption": "aws:kms", "kmsKeyId": "alias/mlflow",
                          "blockPublicAccess": True, "abortIncompleteUploadsAfterDays": 7}},
        "permissions": {"customImages": True, "externalStores": False, "deletionPolicyDelete": False,
                        "serviceAccountAnnotations": ["eks.amazonaws.com/role-arn"],
                        "podTemplate": {"scheduling": False, "env": False, "priorityClassNames": ["high"]}},
        "limits": {"maxServersPerNamespace": 3, "maxReplicas": 6, "maxConnections": 60, "maxResources": {"cpu": "4", "memory": "8Gi"}},
        "defaults": {"replicas": 1, "workers": 1, "resources": {"limits": {"memory": "1Gi"}},
                     "deletionPolicy": "Retain"},
    }, LET_IN),
    ("an unknown field", {"permission": {}}, 'unknown field "spec.permission"'),

    # Access
    ("an Ingress for each server",
     {"access": {"ingress": {"className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "0"},
                             "tls": {"secretName": "{{ name }}-tls"}},
                 "publicURL": "https://{{ host }}:8443",
                 "authentication": {"basic": {"defaultPermission": "NO_PERMISSIONS"}}},
      "permissions": {"hosts": ["*.mlflow.example.com", "ml.example.com"], "anonymousAccess": True}}, LET_IN),
    ("a Gateway for each server",
     {"access": {"gateway": {"parentRef": {"name": "public", "namespace": "gateways", "sectionName": "https",
                                           "port": 443}}}}, LET_IN),
    ("an Ingress and a Gateway", {"access": {"ingress": {}, "gateway": {"parentRef": {"name": "public"}}}},
     "spec.access: Invalid value: access has both ingress and gateway; keep the one to use and remove the other"),
    ("a Gateway without a name", {"access": {"gateway": {"parentRef": {}}}},
     "spec.access.gateway.parentRef.name: Required value"),
    ("an IngressClass with capitals", {"access": {"ingress": {"className": "Nginx"}}},
     "must be the name of a Kubernetes object"),
    ("a permitted host with a star inside", {"permissions": {"hosts": ["ml.*.example.com"]}},
     "must be a host name, or '*.' and a domain for every name directly under it"),
    ("all hosts permitted by a star", {"permissions": {"hosts": ["*"]}}, "spec.permissions.hosts[0]: Invalid value"),
    ("a permission that MLflow does not know",
     {"access": {"authentication": {"basic": {"defaultPermission": "WRITE"}}}}, 'supported values: "NO_PERMISSIONS"'),
    ("a provider", with_provider(), LET_IN),
    ("all of a provider", with_provider(
        issuer="http://idp.idp.svc:8080/realms/ml", clientSecretRef={"name": "{{ name }}-sso", "key": "secret"},
        caBundleRef={"name": "ca"}, scopes=["openid", "groups"], groupsClaim="cognito:groups", usernameClaim="sub",
        groupPermissions=[{"group": "/readers of {{ namespace }}/ü", "permission": "READ"}], adminGroups=["admins"],
        defaultPermission="MANAGE", sessionHours=1, recheckMinutes=59, acceptTokens=True), LET_IN),
    ("a provider by plain HTTP", with_provider(issuer="http://idp.example.com"), "must be the https URL"),
    ("a provider with a user", with_provider(issuer="https://idp.svc@evil.example"), "must be the https URL"),
    ("a provider with a query", with_provider(issuer="https://idp.example.com?a=b"), "must be the https URL"),
    ("nobody's group", with_provider(allowedGroups=[]), "oidc names no group, so it lets nobody in"),
    ("a group in quotes", with_provider(allowedGroups=['"a"']), "without commas, double quotes and $"),
    ("a group with a variable", with_provider(adminGroups=["$HOME"]), "without commas, double quotes and $"),
    ("a group with two lines", with_provider(adminGroups=["a\nb"]), "without commas, double quotes and $"),
    ("a group of admins by permission", with_provider(groupPermissions=[{"group": "a", "permission": "ADMIN"}]),
     'supported values: "READ", "EDIT", "MANAGE"'),
    ("a recheck after the session", with_provider(sessionHours=1, recheckMinutes=60), "recheckMinutes must be less than"),
    ("a recheck after the usual session", with_provider(recheckMinutes=480), "recheckMinutes must be less than"),
    ("no scope openid", with_provider(scopes=["email"]), "scopes must contain openid"),
    ("a claim inside of another", with_provider(groupsClaim="realm.groups"), "must be the name of a claim at the top"),
    ("a default version that is not on offer",
     {"mlflow": {"versions": [{"version": "3.16.1", "image": "registry/mlflow"}], "defaultVersion": "3.17.2"}},
     "spec.mlflow.defaultVersion: Invalid value: mlflow.defaultVersion must be one of mlflow.versions"),
    ("a default version of the built-in table", {"mlflow": {"defaultVersion": "3.17.2"}}, LET_IN),
    ("a version twice", {"mlflow": {"versions": [{"version": "3.16.1", "image": "a"},
                                                 {"version": "3.16.1", "image": "b"}]}},
     "spec.mlflow.versions[1]: Duplicate value"),
    ("a version without its image", {"mlflow": {"versions": [{"version": "3.16.1"}]}},
     "spec.mlflow.versions[0].image: Required value"),
    ("a malformed version", {"mlflow": {"versions": [{"version": "latest", "image": "a"}]}},
     "must be an exact MLflow release of three numbers"),
    ("a malformed limit", {"limits": {"maxResources": {"memory": "8 GB"}}},
     'spec.limits.maxResources[memory]: Invalid value: "8 GB": must be a Kubernetes quantity'),
    ("a limit with an exponent that Kubernetes cuts off", {"limits": {"maxResources": {"memory": "64e-4294967287"}}},
     "spec.limits.maxResources.memory in body should match"),
    ("an amount by default with a long exponent",
     {"defaults": {"resources": {"limits": {"memory": "1e9223372036854775807"}}}},
     "spec.defaults.resources.limits.memory in body should match"),
    ("more replicas by default than permitted", {"limits": {"maxReplicas": 2}, "defaults": {"replicas": 3}},
     "spec.defaults.replicas: Invalid value: defaults.replicas may not be more than limits.maxReplicas"),
    ("a default that is not permitted",
     {"permissions": {"deletionPolicyDelete": False}, "defaults": {"deletionPolicy": "Delete"}},
     "spec.defaults.deletionPolicy: Invalid value: defaults.deletionPolicy may be Delete only where"),
    ("labels and annotations by their beginnings",
     {"permissions": {"podTemplate": {"labels": ["*"], "annotations": ["prometheus.io/*", "example.com/a"]}}}, LET_IN),
    ("a pattern of keys with a star inside", {"permissions": {"podTemplate": {"labels": ["example.*/a"]}}},
     "must be a key, or the beginning of keys and one '*' at its end"),
    ("a template that is too long", {"naming": {"host": "x" * 1025}}, "spec.naming.host"),
    ("an empty template", {"naming": {"database": ""}}, "spec.naming.database in body should be at least 1 chars long"),
    ("an annotation key twice", {"permissions": {"serviceAccountAnnotations": ["a", "a"]}}, "Duplicate value"),
    ("an unknown selector operator",
     {"allowedNamespaces": {"matchExpressions": [{"key": "team", "operator": "Is", "values": ["a"]}]}},
     'supported values: "In", "NotIn", "Exists", "DoesNotExist"'),

    # S3
    ("a bucket and keys that teams bring", s3(), LET_IN),
    ("a bucket on a versitygw", s3(**VERSITYGW), LET_IN),
    ("a bucket that is created as it comes", s3(create={}), LET_IN),
    ("IAM users as they come", s3(identity={"iamUser": {}}), LET_IN),
    ("a role for each server", s3(identity={"irsa": {"roleArnTemplate": "arn:aws:iam::1:role/{{ name }}"}}), LET_IN),
    ("tags of pods", s3(isolation="abac", identity={"podIdentity": {}}), LET_IN),
    ("tags of pods with one role", s3(isolation="abac", identity={
        "podIdentity": {"roleArn": "arn:aws:iam::123456789012:role/mlflow", "eksClusterName": "prod"}}), LET_IN),
    ("tags of users", s3(isolation="abac", identity={"iamUser": {}}), LET_IN),
    ("no bucket", {"s3": {"identity": {"secret": {}}}}, "spec.s3.bucket: Required value"),
    ("no identity", {"s3": {"bucket": "ml-artifacts"}}, "spec.s3.identity: Required value"),
    ("an identity of no kind", s3(identity={}), "spec.s3.identity: Invalid value: identity needs exactly one of"),
    ("two identities", s3(identity={"secret": {}, "iamUser": {}}), "identity needs exactly one of"),
    ("tags without anybody to carry them", s3(isolation="abac"),
     "spec.s3.isolation: Invalid value: isolation abac needs identity podIdentity or iamUser"),
    ("tags on a versitygw", s3(isolation="abac", **VERSITYGW), "isolation abac needs identity podIdentity or iamUser"),
    ("one role for all without tags", s3(identity={"podIdentity": {}}),
     "spec.s3.identity: Invalid value: identity podIdentity needs isolation abac"),
    ("a role that is none", s3(isolation="abac", identity={"podIdentity": {"roleArn": "mlflow"}}),
     "must be the ARN of a role"),
    ("a boundary that is none", s3(identity={"iamUser": {"permissionsBoundary": "mlflow"}}),
     "must be the ARN of a policy"),
    ("a path of users without slashes", s3(identity={"iamUser": {"path": "mlflow"}}), "must begin and end with '/'"),
    ("a versitygw nowhere", s3(identity={"versitygw": {}}),
     "spec.s3.endpoint: Invalid value: identity versitygw needs endpoint"),
    ("an endpoint without a scheme", s3(endpoint="s3.s3.svc:7070"), NO_ENDPOINT.format('"s3.s3.svc:7070"')),
    ("an endpoint with a path", s3(endpoint="http://s3.svc/bucket"), NO_ENDPOINT.format('"http://s3.svc/bucket"')),
    ("an endpoint with a user", s3(endpoint="http://a:b@s3.svc"), NO_ENDPOINT.format('"http://a:b@s3.svc"')),
    ("an endpoint at an IPv6 address", s3(endpoint="http://[fd00::7]:7070"), LET_IN),
    ("a bucket in capitals", s3(bucket="Artifacts"), NO_BUCKET.format('"Artifacts"')),
    ("a bucket with a path", s3(bucket="artifacts/mlflow"), NO_BUCKET.format('"artifacts/mlflow"')),
    ("a bucket of two letters", s3(bucket="ml"), "spec.s3.bucket in body should be at least 3 chars long"),
    ("an addressing style of another kind", s3(addressingStyle="auto"), 'supported values: "path", "virtual"'),
    ("another encryption", s3(requireEncryption="none"), 'supported values: "AES256", "aws:kms"'),
    ("keys that never grow old enough", s3(identity={"iamUser": {"rotateEvery": "soon"}}),
     "must be a number of hours or days, such as 12h or 90d"),

    # PostgreSQL
    ("PostgreSQL by its host and admin alone", postgres(), LET_IN),
    ("PostgreSQL without an admin", {"postgres": {"host": "pg.db.svc"}},
     "spec.postgres.adminSecretRef: Required value"),
    ("PostgreSQL without a host", {"postgres": ADMIN}, "spec.postgres.host: Required value"),
    ("an admin Secret that is a path", postgres(adminSecretRef={"name": "other/pg-admin"}),
     "must be the name of a Kubernetes object"),
    ("the host of a cloud", postgres(host="mlflow-1.Abc123.eu-central-1.rds.amazonaws.com"), LET_IN),
    ("a host with an underscore", postgres(host="pg_1"), LET_IN),
    ("an IPv4 address", postgres(host="10.0.0.7"), LET_IN),
    ("an IPv6 address", postgres(host="fd00::7"), LET_IN),
    ("an IPv6 address written in full", postgres(host="2001:db8:0:0:0:0:0:1"), LET_IN),
    ("an IPv6 address with an IPv4 address in it", postgres(host="::ffff:10.0.0.7"), LET_IN),
    ("a host with a port", postgres(host="pg.db.svc:5432"), NO_HOST_NAME.format('"pg.db.svc:5432"')),
    ("a short host with a port", postgres(host="db:5432"), NO_HOST_NAME.format('"db:5432"')),
    ("an address with a port", postgres(host="10.0.0.7:5432"), NO_HOST_NAME.format('"10.0.0.7:5432"')),
    ("an IPv6 address in brackets", postgres(host="[fd00::7]"), NO_HOST_NAME.format('"[fd00::7]"')),
    ("a host with a scheme", postgres(host="postgresql://pg.db.svc"),
     NO_HOST_NAME.format('"postgresql://pg.db.svc"')),
    ("a host with a space", postgres(host="pg db"), NO_HOST_NAME.format('"pg db"')),
    ("a host with a space behind it", postgres(host="pg.db.svc "), NO_HOST_NAME.format('"pg.db.svc "')),
    ("a host of two lines", postgres(host="pg.db.svc\npassword=x"), "must be one host name or address"),
    ("two hosts", postgres(host="pg-1,pg-2"), NO_HOST_NAME.format('"pg-1,pg-2"')),
    ("the folder of a socket", postgres(host="/var/run/postgresql"), "must be one host name or address"),
    ("a host that is empty", postgres(host=""), "spec.postgres.host in body should be at least 1 chars long"),
    ("the lowest port", postgres(port=1), LET_IN),
    ("the highest port", postgres(port=65535), LET_IN),
    ("port 0", postgres(port=0), "spec.postgres.port in body should be greater than or equal to 1"),
    ("port 65536", postgres(port=65536), "spec.postgres.port in body should be less than or equal to 65535"),
    *[(f"sslMode {mode}", postgres(sslMode=mode), LET_IN)
      for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")],
    ("an sslMode that does not exist", postgres(sslMode="verify"),
     'spec.postgres.sslMode: Unsupported value: "verify": supported values: "disable", "allow", "prefer", "require", '
     '"verify-ca", "verify-full"'),
    *[(f"rotateEvery {period}", postgres(rotateEvery=period), LET_IN) for period in ("12h", "90d", "1h")],
    *[(f"rotateEvery {period}", postgres(rotateEvery=period), NO_DURATION.format(f'"{period}"'))
      for period in ("90", "0d", "00h", "1w", "1.5h", "-1d", "90 d", "90D")],
    ("rotateEvery as a number", postgres(rotateEvery=90), "spec.postgres.rotateEvery in body must be of type string"),
    ("a connectionLimit of 1", postgres(connectionLimit=1), LET_IN),
    ("a connectionLimit of 0", postgres(connectionLimit=0),
     "spec.postgres.connectionLimit in body should be greater than or equal to 1"),
    ("maxConnections of 0", {"limits": {"maxConnections": 0}},
     "spec.limits.maxConnections in body should be greater than or equal to 1"),
    ("as many connections by default as permitted",
     postgres(connectionLimit=30) | {"limits": {"maxConnections": 30}}, LET_IN),
    ("more connections by default than permitted",
     postgres(connectionLimit=31) | {"limits": {"maxConnections": 30}}, TOO_MANY_CONNECTIONS),
    ("fewer connections permitted than the built-in default", postgres() | {"limits": {"maxConnections": 19}}, LET_IN),
    ("fewer connections permitted, without PostgreSQL", {"limits": {"maxConnections": 1}}, LET_IN),
    ("a longer name of the maintenance database than there is", postgres(maintenanceDatabase="d" * 64),
     "spec.postgres.maintenanceDatabase: Too long"),
]  # fmt: skip


@pytest.fixture(scope="module")
def api_server(cluster: Cluster) -> ApiServer:
    """The API server with the CRDs. Nothing is stored by this module, so it needs no namespace of its own."""
    api = ApiServer(cluster, "default")
    api.install()
    return api


def expect(said: str | None, sentence: str | None) -> None:
    """Assert that what was said holds the sentence, or that nothing was said where none is expected."""
    if sentence is None:
        assert said is None, f"refused, but should be let in: {said}"
    else:
        assert said is not None, f"let in, but should be refused with: {sentence}"
        assert sentence in said


@pytest.mark.parametrize(("name", "sentence"), [pytest.param(*row[1:], id=row[0]) for row in NAMES])
def test_name_of_a_server(api_server: ApiServer, name: str, sentence: str | None) -> None:
    expect(api_server.refusal(tracking_server({}, name=name)), sentence)


@pytest.mark.parametrize(("spec", "sentence"), [pytest.param(*row[1:], id=row[0]) for row in SERVERS])
def test_specification_of_a_server(api_server: ApiServer, spec: Manifest, sentence: str | None) -> None:
    expect(api_server.refusal(tracking_server(spec)), sentence)


@pytest.mark.parametrize(("spec", "sentence"), [pytest.param(*row[1:], id=row[0]) for row in CLASSES])
def test_specification_of_a_class(api_server: ApiServer, spec: Manifest, sentence: str | None) -> None:
    expect(api_server.refusal(tracking_server_class(generous(spec))), sentence)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"access": {}},
        {"access": {"ingress": {}}},
        {"access": {"authentication": {"basic": {}}}, "defaults": {"deletionPolicy": "Delete"}},
    ],
)
def test_a_class_that_leaves_unsaid_what_is_not_safe_is_refused(
    api_server: ApiServer, spec: Manifest
) -> None:
    is_silent = "defaults" not in spec
    sentence = "a class says who is let in" if is_silent else "only where permissions.deletionPolicyDelete"
    expect(api_server.refusal(tracking_server_class(spec)), sentence)


def test_a_class_without_a_spec_is_refused(api_server: ApiServer) -> None:
    manifest = tracking_server_class({})
    del manifest["spec"]
    expect(api_server.refusal(manifest), "a class has a spec")


@pytest.mark.parametrize("crd", [crd["metadata"]["name"] for crd in all_crds()])
def test_schemas_are_structural_and_their_rules_cheap_enough(api_server: ApiServer, crd: str) -> None:
    """Rules above the cost limit are refused when the CRD is written; this one was, and nothing is wrong with it."""
    found = api_server.kubectl("get", "crd", crd, "-o", "json")
    conditions = {one["type"]: one["status"] for one in json.loads(found.stdout)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_a_server_without_a_spec_is_let_in(api_server: ApiServer) -> None:
    manifest = tracking_server({})
    del manifest["spec"]
    expect(api_server.refusal(manifest), LET_IN)
