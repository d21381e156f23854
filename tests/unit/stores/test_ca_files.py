from pathlib import Path

from tracking_operator.stores.ca_files import ca_file


def test_one_file_in_memory_holds_the_certificates_for_as_many_readers_as_there_are() -> None:
    path = ca_file("PEM of one")
    assert path is not None
    assert path == ca_file("PEM of one") != ca_file("PEM of another")
    assert [Path(path).read_text() for _ in range(2)] == ["PEM of one", "PEM of one"]
    assert "memfd:" in str(Path(path).readlink())


def test_no_certificates_are_no_file() -> None:
    assert ca_file(None) is None
