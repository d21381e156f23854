"""What the object store was asked for is read from its own log."""

from bench.store_requests import by_kind, requests_in, without_probes

LOG = """\
versitygw is up
17:01:46 | vgw | 200 |      14.567µs | 10.202.2.1 | GET | /health | - |
17:01:47 | vgw | 200 |     317.754µs | 10.202.2.5 | HEAD | /bucket | - |
17:01:47 | vgw | 404 |     120.119µs | 10.202.2.5 | GET | /bucket | - | policy=
17:01:47 | vgw | 404 |     120.119µs | 10.202.2.5 | GET | /bucket/.tracking-operator/prefixes/a/b/owner.json | - |
17:01:47 | vgw | 200 |     120.119µs | 10.202.2.5 | GET | /bucket | - | list-type=2&prefix=a%2Fb%2F&max-keys=1
17:01:47 | vgw | 200 |     120.119µs | 10.202.2.5 | GET | /bucket | - | list-type=2&prefix=.tracking-operator%2Fcreating
17:01:48 | vgw | 201 |     120.119µs | 10.202.2.5 | PATCH | /create-user | - |
17:01:48 | vgw | 204 |     120.119µs | 10.202.2.5 | PUT | /bucket | - | policy=
17:01:48 | vgw | 200 |     120.119µs | 10.202.2.5 | PUT | /bucket/a/b/object | - |
[INTERNAL ERROR]: set policy: no space
"""


def test_each_request_is_of_a_kind_and_probes_of_health_are_none() -> None:
    assert by_kind(requests_in(LOG)) == {
        "HEAD bucket": 1,
        "GET policy": 1,
        "GET mark": 1,
        "GET listing": 2,
        "admin API: create-user": 1,
        "PUT policy": 1,
        "PUT object": 1,
    }


def test_probes_of_a_bucket_are_told_apart() -> None:
    requests = requests_in(LOG)
    assert [one.method for one in requests if one not in without_probes(requests)] == ["HEAD"]


def test_a_look_at_everything_of_a_bucket_begins_with_the_question_whether_it_is_being_made() -> None:
    assert [one.query for one in requests_in(LOG) if one.begins_look_at_class] == [
        "list-type=2&prefix=.tracking-operator%2Fcreating"
    ]
