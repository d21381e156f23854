"""What must hold for the pods of every server, whatever its shape."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    GOLDEN_SERVERS,
    SHARED_VOLUME,
    Manifest,
    golden_plan,
    model,
    postgres_class,
    postgres_store,
    s3_class,
    tracking_class,
)
from tracking_operator.api.pod_template import RESERVED_ENV, RESERVED_ENV_PREFIXES, PodTemplate
from tracking_operator.resources import build_objects
from tracking_operator.resources.labels import pod_selector
from tracking_operator.resources.pod.login_proxy import PROXY_CONTAINER
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.pod.server_pod import (
    CREDENTIALS_DIGEST_ANNOTATION,
    ENDPOINT_REMOVAL_SECONDS,
    SERVER_ENVIRONMENT,
    TERMINATION_GRACE_SECONDS,
    UVICORN_OPTIONS,
    allowed_hosts,
    allowed_origins,
    build_pod_template,
    server_arguments,
)
from tracking_operator.resources.stores.s3 import RESERVED_ARTIFACT_ENV

POD_MONITOR = Path(__file__).parents[4] / "manifests" / "monitoring" / "pod-monitor.yaml"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
WRITABLE = ("/tmp", "/mlflow/backend-store", "/mlflow/artifact-store")  # noqa: S108 - mount paths in the pod


def pod_spec(spec: Manifest | None = None) -> Manifest:
    result: Manifest = build_pod_template(model(spec))["spec"]
    return result


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def pods_of(case: str) -> dict[str, Manifest]:
    """Every pod of a golden server by its purpose."""
    server = golden_plan(case).model
    pods = {"server": build_pod_template(server)["spec"]}
    if server.needs_migration_job:
        pods["migration"] = build_migration_job(server)["spec"]["template"]["spec"]
    return pods


PODS = {f"{case}, {purpose}": pod for case in GOLDEN_SERVERS for purpose, pod in pods_of(case).items()}


@pytest.mark.parametrize("case", PODS)
class TestRestrictedPodSecurityStandard:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and what we add."""

    @staticmethod
    def pod(case: str) -> Manifest:
        return PODS[case]

    def test_runs_as_a_numeric_user_that_is_no_system_user(self, case: str) -> None:
        security = self.pod(case)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert min(security["runAsUser"], security["runAsGroup"], security["fsGroup"]) >= 10000

    def test_uses_the_seccomp_profile_of_the_runtime(self, case: str) -> None:
        assert self.pod(case)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_every_container_drops_all_privileges(self, case: str) -> None:
        for container in containers(self.pod(case)):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_shares_nothing_with_the_node(self, case: str) -> None:
        pod = self.pod(case)
        assert not (pod["hostNetwork"] or pod["hostPID"] or pod["hostIPC"])
        kinds = {key for volume in pod["volumes"] for key in volume if key != "name"}
        assert kinds <= {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}
        projected = [volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume]
        assert {kind for sources in projected for source in sources for kind in source} <= {
            "secret",
            "configMap",
        }
        assert all("hostPort" not in port for one in pod["containers"] for port in one.get("ports", []))

    def test_has_no_token_and_no_service_links(self, case: str) -> None:
        pod = self.pod(case)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False

    def test_writes_only_to_its_volumes(self, case: str) -> None:
        for container in containers(self.pod(case)):
            for mount in container["volumeMounts"]:
                assert mount["readOnly"] or mount["mountPath"] in WRITABLE

    def test_every_mount_has_its_volume_and_every_volume_a_mount(self, case: str) -> None:
        pod = self.pod(case)
        mounted = {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}

    def test_every_container_says_how_much_memory_it_may_take(self, case: str) -> None:
        for container in containers(self.pod(case)):
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


class TestProbes:
    def test_ask_the_route_that_does_not_depend_on_the_database(self) -> None:
        (container,) = pod_spec()["containers"]
        assert {container[probe]["httpGet"]["path"] for probe in PROBES} == {"/health"}

    def test_carry_the_url_prefix(self) -> None:
        server = golden_plan("host-and-path-of-a-class").model
        (container,) = build_pod_template(server)["spec"]["containers"]
        assert {container[probe]["httpGet"]["path"] for probe in PROBES} == {"/team-a/mlflow/health"}
        assert "--static-prefix=/team-a/mlflow" in server_arguments(server)

    def test_give_a_slow_start_three_minutes(self) -> None:
        (container,) = pod_spec()["containers"]
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 180


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        [
            "mlflow",
            "mlflow.team-a",
            "mlflow.team-a.svc",
            "mlflow.team-a.svc.cluster.local",
            "localhost",
            "127.0.0.1",
        ],
    )
    def test_every_name_of_the_service_and_of_a_port_forward_is_allowed(self, host: str) -> None:
        assert {host, f"{host}:*"} <= set(allowed_hosts(model()))

    def test_the_host_of_the_class_is_allowed(self) -> None:
        hosts = allowed_hosts(golden_plan("host-and-path-of-a-class").model)
        assert {"mlflow.example.com", "mlflow.example.com:*"} <= set(hosts)

    @pytest.mark.parametrize("case", GOLDEN_SERVERS)
    def test_nothing_is_allowed_for_everybody(self, case: str) -> None:
        server = golden_plan(case).model
        assert not {"*", "*:*"} & set(allowed_hosts(server))
        assert not {"*", "http://*", "https://*"} & set(allowed_origins(server))

    def test_the_page_of_the_server_may_call_its_api_from_a_browser(self) -> None:
        origins = allowed_origins(golden_plan("host-and-path-of-a-class").model)
        assert {"https://mlflow.example.com", "http://mlflow.team-a.svc:*"} <= set(origins)

    def test_another_cluster_domain_is_followed(self) -> None:
        hosts = allowed_hosts(replace(model(), cluster_domain="corp.internal"))
        assert "mlflow.team-a.svc.corp.internal" in hosts
        assert "mlflow.team-a.svc.cluster.local" not in hosts


class TestStores:
    def test_sqlite_is_named_on_the_command_line(self) -> None:
        assert "--backend-store-uri=sqlite:////mlflow/backend-store/mlflow.db" in server_arguments(model())

    def test_a_database_of_ones_own_is_named_by_its_service_and_nothing_else(self) -> None:
        server = model({}, postgres_class())
        assert "--backend-store-uri=postgresql+psycopg2:///?service=mlflow" in server_arguments(server)
        template = json.dumps(build_pod_template(server))
        store = postgres_store(server)
        assert store.database not in template
        assert store.host not in template

    def test_the_service_file_is_found_by_every_container_and_mounted_whole(self) -> None:
        # A subPath or a list of items would never be updated, and rotated credentials never seen.
        pod = build_pod_template(model({}, postgres_class()))["spec"]
        assert {
            "name": "backend-store-credentials",
            "secret": {"secretName": "mlflow-database"},
        } in pod["volumes"]
        for container in containers(pod):
            variable = {"name": "PGSERVICEFILE", "value": "/etc/mlflow/backend-store/pg_service.conf"}
            assert variable in container["env"]
            mounts = [one for one in container["volumeMounts"] if one["name"] == "backend-store-credentials"]
            assert mounts == [
                {
                    "name": "backend-store-credentials",
                    "mountPath": "/etc/mlflow/backend-store",
                    "readOnly": True,
                }
            ]

    def test_a_database_of_ones_own_lets_pods_overlap(self) -> None:
        server = model({"artifactStore": EXTERNAL_BUCKET}, postgres_class())
        assert not server.is_bound_to_one_pod
        assert not server.volumes

    @pytest.mark.parametrize("fields", [{"suspend": True}, {"suspend": True, "replicas": 1}])
    def test_a_nap_changes_no_pool(self, fields: Manifest) -> None:
        awake, asleep = (model(spec, postgres_class()) for spec in ({}, fields))
        assert build_pod_template(awake) == build_pod_template(asleep)

    @pytest.mark.parametrize(
        ("replicas", "limit", "sizes"), [(1, 20, ("2", "-1")), (3, 20, ("2", "-1")), (1, 1000, ("5", "-1"))]
    )
    def test_pools_keep_as_much_as_the_limit_allows(
        self, replicas: int, limit: int, sizes: tuple[str, str]
    ) -> None:
        spec = {"replicas": replicas, "artifactStore": EXTERNAL_BUCKET}
        server = model(spec, postgres_class({"connectionLimit": limit}))
        (container,) = build_pod_template(server)["spec"]["containers"]
        told = {one["name"]: one["value"] for one in container["env"]}
        prefix = "MLFLOW_SQLALCHEMYSTORE"
        assert (told[f"{prefix}_POOL_SIZE"], told[f"{prefix}_MAX_OVERFLOW"]) == sizes

    def test_a_migration_depends_on_no_number_of_pods(self) -> None:
        few, many = (
            model({"replicas": replicas, "artifactStore": EXTERNAL_BUCKET}, postgres_class())
            for replicas in (1, 2)
        )
        assert build_migration_job(few) == build_migration_job(many)

    def test_an_external_database_is_named_nowhere_in_the_pod(self) -> None:
        server = model({"backendStore": EXTERNAL_DATABASE})
        assert not any("backend-store-uri" in argument for argument in server_arguments(server))
        assert "MLFLOW_BACKEND_STORE_URI" not in json.dumps(build_pod_template(server))

    def test_the_key_of_the_secret_becomes_a_file_of_a_known_name(self) -> None:
        server = model({"backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "my.key"}}}})
        volumes = build_pod_template(server)["spec"]["volumes"]
        assert {
            "name": "backend-store-credentials",
            "secret": {"secretName": "db", "items": [{"key": "my.key", "path": "uri"}]},
        } in volumes

    def test_proxied_artifacts_go_through_the_server(self) -> None:
        arguments = server_arguments(model({"artifactStore": EXTERNAL_BUCKET}))
        assert "--serve-artifacts" in arguments
        assert "--artifacts-destination=s3://bucket/team-a" in arguments

    def test_direct_artifacts_name_their_root(self) -> None:
        arguments = server_arguments(model({"artifactStore": EXTERNAL_BUCKET | {"proxied": False}}))
        assert "--no-serve-artifacts" in arguments
        assert "--default-artifact-root=s3://bucket/team-a" in arguments

    def test_artifacts_on_a_volume_never_land_in_the_working_directory(self) -> None:
        assert "--artifacts-destination=/mlflow/artifact-store" in server_arguments(model())

    def test_the_check_sees_the_database_but_not_the_artifacts(self) -> None:
        check, _ = pod_spec({"artifactStore": EXTERNAL_BUCKET})["initContainers"]
        mounts = {mount["mountPath"] for mount in check["volumeMounts"]}
        stores = {"/mlflow/backend-store", "/etc/mlflow/encryption"}
        assert mounts == {"/opt/tracking-operator", "/tmp", *stores}  # noqa: S108

    def test_the_check_of_external_artifacts_sees_them_but_not_the_database(self) -> None:
        _, check = pod_spec({"artifactStore": EXTERNAL_BUCKET})["initContainers"]
        mounts = {mount["mountPath"] for mount in check["volumeMounts"]}
        assert mounts == {"/opt/tracking-operator", "/tmp", "/etc/mlflow/artifact-store"}  # noqa: S108
        assert check["command"][-2:] == ["external", "s3://bucket/team-a"]

    def test_the_check_of_external_artifacts_finds_all_that_the_server_finds(self) -> None:
        endpoint = {"name": "MLFLOW_S3_ENDPOINT_URL", "value": "http://s3:9000"}
        told = {"env": [endpoint], "envFrom": [{"secretRef": {"name": "keys"}}]}
        pod = pod_spec({"artifactStore": EXTERNAL_BUCKET, "podTemplate": told})
        _, check = pod["initContainers"]
        (server,) = pod["containers"]
        assert (check["env"], check["envFrom"]) == (server["env"], server["envFrom"])
        assert endpoint in check["env"]

    def test_only_external_artifacts_are_checked_before_each_start(self) -> None:
        (check,) = pod_spec()["initContainers"]
        assert check["name"] == "check-backend-store"

    @pytest.mark.parametrize("workers", [1, 4])
    def test_workers_are_passed_on_and_get_the_memory_they_need(self, workers: int) -> None:
        server = model({"workers": workers})
        assert f"--workers={workers}" in server_arguments(server)
        limit = int((server.resources.limits or {})["memory"].removesuffix("Mi"))
        assert limit >= 500 + 240 * workers  # measured: 424 MiB with one, 950 to 1,150 MiB with four


class TestCredentialsDigest:
    def test_is_in_the_template_so_that_a_change_rolls_the_pods(self) -> None:
        server = model({"backendStore": EXTERNAL_DATABASE})
        before, after = (
            build_pod_template(replace(server, credentials_digest=digest)) for digest in ("old", "new")
        )
        assert before["metadata"]["annotations"][CREDENTIALS_DIGEST_ANNOTATION] == "old"
        assert before != after

    def test_is_absent_without_a_secret(self) -> None:
        assert CREDENTIALS_DIGEST_ANNOTATION not in build_pod_template(model())["metadata"]["annotations"]


class TestEnvironment:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("HOME", "/tmp"),  # noqa: S108
            ("TMPDIR", "/tmp"),  # noqa: S108
        ],
    )
    def test_is_set_in_every_container(self, name: str, value: str) -> None:
        for container in containers(pod_spec()):
            assert {"name": name, "value": value} in container["env"]

    @pytest.mark.parametrize("case", [case for case in PODS if not case.startswith("rich-pod-template")])
    def test_what_we_set_nobody_else_may_set(self, case: str) -> None:
        # The API server refuses a list with two entries of one name.
        for container in containers(PODS[case]):
            if container["name"] == PROXY_CONTAINER:
                # It takes its settings from variables, too, and gets none from anybody.
                assert not {"env", "envFrom"} & {*container}
                continue
            names = [variable["name"] for variable in container["env"]]
            assert len(set(names)) == len(names) >= len(SERVER_ENVIRONMENT)
            free = {name for name in names if not name.startswith(RESERVED_ENV_PREFIXES)}
            assert free <= {*RESERVED_ENV, *RESERVED_ARTIFACT_ENV}

    def test_what_leads_to_a_prefix_of_ones_own_no_team_replaces(self) -> None:
        told = [
            {"name": "MLFLOW_S3_ENDPOINT_URL", "value": "http://elsewhere"},
            {"name": "AWS_PROFILE", "value": "x"},
        ]
        server = model({}, s3_class())
        team = PodTemplate.model_validate({"env": [*told, {"name": "OWN", "value": "1"}]})
        (container,) = build_pod_template(replace(server, pod_template=team))["spec"]["containers"]
        names = [one["name"] for one in container["env"]]
        assert len(set(names)) == len(names)
        assert "OWN" in names
        assert not any(one in container["env"] for one in told)

    def test_what_a_team_adds_reaches_the_server(self) -> None:
        pod = pod_spec({"podTemplate": {"env": [{"name": "AWS_REGION", "value": "eu-central-1"}]}})
        assert {"name": "AWS_REGION", "value": "eu-central-1"} in pod["containers"][0]["env"]


class TestPodTemplate:
    def test_labels_of_a_team_never_displace_ours(self) -> None:
        labels = dict.fromkeys(pod_selector("mlflow"), "theirs")
        server = model({"podTemplate": {"labels": labels | {"cost-centre": "42"}}})
        found = build_pod_template(server)["metadata"]["labels"]
        assert found["cost-centre"] == "42"
        assert found.items() >= pod_selector("mlflow").items()

    def test_pods_spread_among_themselves_unless_told_otherwise(self) -> None:
        rule = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        told = rule | {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "other"}}}
        ours, theirs = pod_spec({"podTemplate": {"topologySpreadConstraints": [rule, told]}})[
            "topologySpreadConstraints"
        ]
        assert ours["labelSelector"] == {"matchLabels": pod_selector("mlflow")}
        assert theirs["labelSelector"] == {"matchLabels": {"app": "other"}}


class TestStop:
    def test_open_requests_end_before_the_pod_is_killed(self) -> None:
        options = UVICORN_OPTIONS.split()
        shutdown = int(options[options.index("--timeout-graceful-shutdown") + 1])
        assert ENDPOINT_REMOVAL_SECONDS + shutdown < TERMINATION_GRACE_SECONDS

    def test_a_pod_of_a_rolling_update_serves_until_nobody_is_sent_to_it(self) -> None:
        spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
        (container,) = pod_spec(spec)["containers"]
        assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": ENDPOINT_REMOVAL_SECONDS}}

    def test_a_pod_that_must_go_before_its_successor_comes_does_not_wait(self) -> None:
        (container,) = pod_spec()["containers"]
        assert "lifecycle" not in container


class TestResources:
    def test_what_has_no_limit_gets_the_maximum_of_the_class(self) -> None:
        class_ = tracking_class({"limits": {"maxResources": {"cpu": "4", "memory": "8Gi"}}}, is_default=True)
        (container,) = build_pod_template(model({}, class_))["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "4", "memory": "1024Mi"}

    def test_what_a_team_asks_for_stands(self) -> None:
        asked = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}
        (container,) = pod_spec({"resources": asked})["containers"]
        assert container["resources"] == {
            "requests": {"cpu": "1", "memory": "2Gi"},
            "limits": {"cpu": "8", "memory": "4Gi"},
        }


def test_no_object_holds_the_content_of_a_secret() -> None:
    # The builders are given names and keys only; this says what a reader of all objects finds of them.
    spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
    objects = build_objects(replace(model(spec), credentials_digest="0123456789abcdef"))
    assert not [obj for obj in objects if obj["kind"] == "Secret"]
    text = json.dumps(objects)
    assert text.count("mlflow-db") == 1
    assert text.count("mlflow-bucket") == 1


class TestMetrics:
    @pytest.mark.parametrize(
        ("spec", "default", "is_counted"),
        [
            ({}, {}, False),
            ({"enabled": True}, {}, True),
            ({}, {"enabled": True}, True),
            ({"enabled": False}, {"enabled": True}, False),
        ],
        ids=["nobody says so", "the team", "the class", "the team says no"],
    )
    def test_are_counted_where_team_or_class_say_so(
        self, spec: Manifest, default: Manifest, is_counted: bool
    ) -> None:
        offered = tracking_class({"defaults": {"metrics": default}}, is_default=True)
        pod = build_pod_template(model({"metrics": spec}, offered))
        (container,) = pod["spec"]["containers"]
        assert (
            {"name": "metrics", "containerPort": 5001, "protocol": "TCP"} in container["ports"]
        ) == is_counted
        assert ("--expose-prometheus=/tmp/metrics" in container["args"]) == is_counted
        assert ("tracking-operator.dev/metrics" in pod["metadata"]["labels"]) == is_counted

    def test_are_found_by_the_sample_of_a_pod_monitor(self) -> None:
        monitor = yaml.safe_load(POD_MONITOR.read_text())["spec"]
        pod = build_pod_template(model({"metrics": {"enabled": True}}))
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert {one["port"] for one in monitor["podMetricsEndpoints"]} <= {
            port["name"] for port in pod["spec"]["containers"][0]["ports"]
        }
        assert set(monitor["podTargetLabels"]) <= pod["metadata"]["labels"].keys()
