"""The commands of the worked example's page: those that a reader fills in are not typed, the others are."""

from dev.example.page import PAGE, typed_lines


def test_what_the_reader_fills_in_is_left_to_the_reader() -> None:
    page = "```console\n$ export TOKEN=…\n$ git init\nprinted\n```\n\n```console\n$ dvc push\n```\n"
    assert typed_lines(page) == ["git init", "dvc push"]


def test_the_page_has_data_pushed_and_pulled_and_a_training_repeated() -> None:
    lines = typed_lines(PAGE.read_text(encoding="utf-8"))
    for command in ("uv run dvc push", "uv run dvc pull", "uv run dvc repro", "uv run dvc repro --force"):
        assert command in lines
