"""A server whose status was lost finds its data by its marks, whatever its class says by now."""

from tests.kube_api import KubeApi
from tests.operator_fixtures import PATIENCE_SECONDS, OperatorHost
from tests.operator_object_store import RealObjectStore, an_s3_class
from tests.operator_postgres import RealPostgres, a_postgres_class, a_postgres_team
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import SECRET
from tracking_operator.stores.s3.tenant import OWN_FOLDER, mark_key

pytest_plugins = ["tests.operator_object_store"]

OTHER_NAMES = {
    "database": "other_{{ namespace }}_{{ name }}",
    "artifactPrefix": "other/{{ namespace }}/{{ name }}",
}


def test_a_server_whose_status_was_lost_finds_its_database_and_its_prefix_again(
    api: KubeApi, operators: OperatorHost, postgres: RealPostgres, object_store: RealObjectStore
) -> None:
    with an_s3_class(api, object_store) as bucket:
        s3 = api.get(TRACKING_SERVER_CLASS, None, bucket.name)["spec"]["s3"]
        with (
            a_postgres_class(api, postgres, spec={"s3": s3}) as class_,
            a_postgres_team(api, class_) as team,
        ):
            operators.share()
            team.served()
            team.wait_for(SECRET, "mlflow-artifacts")
            before = team.placement()
            with team.connected() as connection, connection.cursor() as cursor:
                cursor.execute("CREATE TABLE runs (id int); INSERT INTO runs VALUES (42)")
            operators.make_room()
            api.patch(TRACKING_SERVER_CLASS, None, class_.name, {"spec": {"naming": OTHER_NAMES}})
            api.patch_status(
                TRACKING_SERVER, team.namespace, "mlflow", dict.fromkeys(team.server()["status"])
            )

            postgres.running.stop()
            try:
                operators.share()
                team.wait_for_condition("BackendStoreReady", reason="StoreUnreachable")
                assert "placement" not in team.server()["status"], "nobody guesses"
            finally:
                postgres.running.start()

            wait_until(
                lambda: "placement" in team.server()["status"],
                PATIENCE_SECONDS,
                lambda: f"it is placed again; {team.server().get('status')}",
            )
            after = team.placement()
            assert (after["database"], after["artifacts"]) == (before["database"], before["artifacts"])
            team.wait_for_condition("BackendStoreReady", status="True", reason="AsExpected")
            with team.connected() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT id FROM runs")
                assert cursor.fetchall() == [(42,)]
            databases = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s"
            assert postgres.sql(databases, class_.admin) == [(before["database"]["name"],)]
            marks = object_store.object_keys(bucket.bucket, f"{OWN_FOLDER}/prefixes/")
            assert marks == [mark_key(before["artifacts"]["prefix"])]
