"""Repeated durations, and how they are told to people. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ENOUGH_FOR_P99: Final = 100
"""With fewer repetitions the 99th percentile is the maximum, and is called so."""


@dataclass(frozen=True)
class Samples:
    """How long each repetition of one thing took, in seconds; at least one."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds:
            raise ValueError("There is nothing to say about no repetitions.")

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Samples":
        """Take the durations of a list."""
        return cls(tuple(seconds))

    @property
    def median(self) -> float:
        """The duration that half of the repetitions stayed below."""
        return statistics.median(self.seconds)

    def percentile(self, percent: float) -> float:
        """The smallest duration that at least ``percent`` % of the repetitions did not exceed (nearest rank)."""
        if not 0 < percent <= 100:
            raise ValueError(f"{percent} is no percentage above 0.")
        rank = math.ceil(len(self.seconds) * percent / 100)
        return sorted(self.seconds)[rank - 1]

    @property
    def worst(self) -> str:
        """The 99th percentile, or the maximum where the repetitions are too few for one."""
        name = "p99" if len(self.seconds) >= ENOUGH_FOR_P99 else "max"
        return f"{name} {duration(self.percentile(99))}"

    def __len__(self) -> int:
        return len(self.seconds)


def duration(seconds: float) -> str:
    """Write a duration with the digits that matter: ``4.2 ms``, ``45 ms``, ``1.25 s``, ``12.3 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def ratio(seconds: float, floor: float) -> str:
    """Write how many times the floor something took."""
    return f"{seconds / floor:.1f} ×" if floor > 0 else "–"


def verdict(measured: float, limit: float, written: str) -> str:
    """Write an upper limit that was aimed at, and whether it was kept."""
    return f"≤ {written}: {'met' if measured <= limit else '**missed**'}"
