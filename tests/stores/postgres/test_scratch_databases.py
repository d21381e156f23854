"""The database that is there for the trial of a backup: beside a server's own, let in by its own login, and gone afterwards."""

import psycopg2
import pytest

from tests.stores.postgres.world import CLUSTER, World, desired, random_password, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection
from tracking_operator.controllers.server_class.scratch_databases import (
    drop_database,
    make_database,
    scratch_name,
    scratch_owner,
)
from tracking_operator.failures import Invalid
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.tenant import Desired, Tenant


def scratch(number: int) -> Tenant:
    mark = Mark(CLUSTER, "team-a", scratch_owner("nightly"), f"0123-{number}")
    return Tenant.named(scratch_name(mark.uid), mark)


def test_it_is_made_with_a_password_of_its_own_and_dropped_and_the_servers_own_stays(
    edge_world: World,
) -> None:
    world, own, of_trial = edge_world, tenant(), scratch(1)
    world.provision(desired(own))
    before = world.names()
    access = AdminConnection(world.server, world.admin)
    login, passwords = of_trial.logins[0], [random_password(), random_password()]
    for password in passwords:  # as a second attempt does
        make_database(access, Desired(of_trial, login, password), 2)
    with world.connected(login, passwords[1], of_trial.database) as connection:
        connection.cursor().execute("CREATE TABLE runs (id int)")
    for password, database in ((passwords[0], of_trial.database), (passwords[1], own.database)):
        with pytest.raises(psycopg2.OperationalError), world.connected(login, password, database):
            pass
    with pytest.raises(Invalid) as refused:
        make_database(access, Desired(scratch(2), scratch(2).logins[0], random_password()), 2)
    assert refused.value.reason is Reason.LIMIT_EXCEEDED
    for _ in range(2):  # as one does that was interrupted
        drop_database(access, of_trial)
    assert world.names() == before
    world.assert_lets_in(own)
