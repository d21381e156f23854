"""Which databases carry a server's mark, for when nobody knows any more where its data is (decision 0022)."""

from typing import Final

from psycopg2.sql import SQL

from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.plan import another_admin
from tracking_operator.stores.postgres.sessions import Sessions

MOST_DATABASES: Final = 10
"""How many are looked at. More than one is too many already."""
LONGEST_MARK: Final = 4096


def databases_of(sessions: Sessions, mark: Mark) -> tuple[str, ...]:
    """The databases whose marks name exactly this server; one query, in the maintenance database.

    Only the owner of a database may write a comment on it. So a mark counts where the admin is the owner.

    Raises:
        Invalid: only databases of another admin login carry the mark; with the reason AdminIsNotOwner.
        Failure: the server does not answer, or refuses.

    """
    session = sessions.session()
    parameters = {"sign": mark.sign, "earlier_beginning": mark.earlier_beginning}
    rows = session.rows(_MARKED, parameters, doing="look for the database of a server by its mark")
    found = [row for row in rows if mark.is_same_owner(Mark.read(row[3]))]
    own = tuple(name for name, _, is_owned, _ in found if is_owned)
    if found and not own:
        name, owner, *_ = found[0]
        raise another_admin(f"The database {name}", owner, session.login.username)
    return own


_MARKED: Final = SQL(f"""
SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_has_role(d.datdba, 'USAGE'),
       pg_catalog.left(c.description, {LONGEST_MARK})
FROM pg_catalog.pg_shdescription AS c
JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) c.objoid
WHERE c.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass::pg_catalog.oid
  AND (pg_catalog.strpos(c.description, %(sign)s::pg_catalog.text) OPERATOR(pg_catalog.>) 0
       OR pg_catalog.starts_with(c.description, %(earlier_beginning)s::pg_catalog.text))
ORDER BY 3 DESC, 1
LIMIT {MOST_DATABASES}
""")  # noqa: S608 — only our own constants are put in
