"""A quantity means here what it means to Kubernetes, or is refused."""

from decimal import Decimal

import pytest

from tracking_operator.kube.quantities import parse_quantity, readable_bytes

READABLE: list[tuple[object, str]] = [
    ("0", "0"),
    ("2", "2"),
    ("+2", "2"),
    ("-1", "-1"),
    ("1.", "1"),
    (".5", "0.5"),
    ("0.25", "0.25"),
    (1073741824, "1073741824"),
    (0.5, "0.5"),
    ("3n", "0.000000003"),
    ("3u", "0.000003"),
    ("250m", "0.25"),
    ("1k", "1000"),
    ("1M", "1000000"),
    ("1G", "1000000000"),
    ("1T", "1e12"),
    ("1P", "1e15"),
    ("1E", "1e18"),
    ("1Ki", "1024"),
    ("1.5Gi", "1610612736"),
    ("1Ei", "1152921504606846976"),
    ("64e9", "64000000000"),
    ("64E+9", "64000000000"),
    ("5e-1", "0.5"),
    ("1e99", "1e99"),
]

TRUNCATED_BY_KUBERNETES = ["64e-4294967287", "1e4294967296", "1E+4294967305"]
TOO_LONG_FOR_DECIMAL = ["1e9223372036854775807", "1e-9223372036854775808", "1e9999999999999999999"]
ONLY_PYTHON_READS = [
    "NaN", "sNaN", "Infinity", "-Infinity", "inf", "1_000", "1_0Gi", "\u0661", "\uff11Gi", "1e\u0661",
    " 1", "1 ", "1Gi\n", "1K", "NaNGi", "1e5Gi", "1e5m", float("nan"), float("inf"),
]  # fmt: skip
NOTHING_READS: list[object] = ["", ".", "+", "Gi", "m", "1e", "1e+", "1e5.0", "1e100", "1e007", "1ki", "1mi", "1Gib", "--1", "0x10",
                 "1" * 65, "1" * 2_000_000, None, True, [], {}]  # fmt: skip


@pytest.mark.parametrize(("written", "amount"), READABLE)
def test_what_kubernetes_reads_is_read_as_kubernetes_does(written: object, amount: str) -> None:
    assert parse_quantity(written) == Decimal(amount)


@pytest.mark.parametrize(
    "written",
    [*TRUNCATED_BY_KUBERNETES, *TOO_LONG_FOR_DECIMAL, *ONLY_PYTHON_READS, *NOTHING_READS],
    ids=lambda written: repr(written)[:24].encode("unicode_escape").decode(),
)
def test_what_means_something_else_to_kubernetes_is_refused_in_a_short_sentence(written: object) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity") as refused:
        parse_quantity(written)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8_000_000, "7.6 MiB"), (2**80, "1048576.0 EiB")],
)
def test_bytes_are_written_for_people(amount: int, text: str) -> None:
    assert readable_bytes(amount) == text
