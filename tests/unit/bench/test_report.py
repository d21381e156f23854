"""The report is Markdown, and replaces only what it has written itself."""

import pytest

from bench.report import (
    BEGIN,
    END,
    Circumstances,
    Table,
    render,
    with_generated_section,
    with_tables_measured_again,
)

TABLE = Table("Drift", ("object", "p50"), (("Service", "12 ms"), ("Deployment", "20 ms")), ("n = 10.",))


def test_a_report_says_where_it_comes_from_and_shows_its_tables() -> None:
    assert render(Circumstances((("machine", "2 cores"), ("commit", "`abc`"))), [TABLE]) == (
        "- machine: 2 cores\n"
        "- commit: `abc`\n"
        "\n"
        "### Drift\n"
        "\n"
        "| object | p50 |\n"
        "| --- | ---: |\n"
        "| Service | 12 ms |\n"
        "| Deployment | 20 ms |\n"
        "\n"
        "n = 10.\n"
    )


def test_a_row_has_a_cell_for_every_column() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        render(Circumstances(()), [Table("Drift", ("object", "p50"), (("Service",),))])


def test_what_people_wrote_around_the_figures_stays() -> None:
    page = f"# Performance\n\n{BEGIN}\nold figures\n{END}\n\nBy hand.\n"
    written = with_generated_section(page, "new figures\n")
    assert written == f"# Performance\n\n{BEGIN}\n\nnew figures\n\n{END}\n\nBy hand.\n"
    assert with_generated_section(written, "new figures\n") == written


@pytest.mark.parametrize("page", ["# Performance\n", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_a_place_for_figures_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="put both"):
        with_generated_section(page, "figures")


def test_a_table_that_was_measured_again_takes_the_place_of_the_old_one_and_says_so() -> None:
    facts = (
        ("date", "today"),
        ("commit", "`abc`"),
        ("machine", "2 cores"),
        ("load before the run (1 min)", "0.1"),
        ("repetitions", "3"),
    )
    page = with_generated_section(
        f"{BEGIN}\n{END}\n", "- date: before\n\n### Drift\n\nold\n\n### Memory\n\nstays\n"
    )
    written = with_tables_measured_again(page, Circumstances(facts), [TABLE, Table("New", ("what",), ())])
    assert "old" not in written
    assert "- date: before" in written
    assert "stays" in written
    assert written.index("### Drift") < written.index("### Memory") < written.index("### New")
    assert written.count("Measured again: today, commit `abc`") == 2
    assert with_tables_measured_again(written, Circumstances(facts), [TABLE]) == written
