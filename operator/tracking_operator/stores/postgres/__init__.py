"""Postgres: a database and login roles for each tracking server, which no other server's credentials open.

Everything here blocks and is called through ``executor``, except what is pure (``plan``, ``pool``).

- ``provision``: bring one server's database and roles to the desired state
- ``rotation``: let the two login roles take turns
- ``finalize``: take logins away, or drop everything
- ``preflight``: can this server and this admin login be used at all?
- ``schema``: which MLflow schema is in a database?
"""
