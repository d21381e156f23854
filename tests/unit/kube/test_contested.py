"""How often an object is written that something else changes right after each write."""

from tracking_operator.kube.contested import MOST_TRIES, Contests

HERE, MARK, DIFFERENCE = "Deployment team-a/mlflow", "mark", ["spec.replicas: wanted 1, found 2"]


def tried(times: int) -> Contests[str]:
    contests: Contests[str] = Contests()
    for _ in range(times):
        contests.note(HERE, MARK, DIFFERENCE)
    return contests


def test_after_a_few_tries_it_is_left_as_it_is() -> None:
    assert not tried(MOST_TRIES - 1).has_given_way(HERE, MARK, DIFFERENCE)
    assert tried(MOST_TRIES).has_given_way(HERE, MARK, DIFFERENCE)


def test_something_else_that_is_wanted_or_differs_is_tried_again() -> None:
    contests = tried(MOST_TRIES)
    assert not contests.has_given_way(HERE, "another", DIFFERENCE)
    assert not contests.has_given_way(HERE, MARK, ["spec.replicas: wanted 1, found 3"])
    contests.note(HERE, "another", DIFFERENCE)
    assert not contests.has_given_way(HERE, "another", DIFFERENCE)


def test_what_is_as_wanted_again_begins_anew() -> None:
    contests = tried(MOST_TRIES)
    contests.forget(HERE)
    assert not contests.knows(HERE)
    assert not contests.has_given_way(HERE, MARK, DIFFERENCE)
