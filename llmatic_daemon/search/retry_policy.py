"""Retries: how often the outside may fail a job, and how long to wait in between."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Exponential backoff with a limit on the attempts."""

    #: A job that was charged for so many failed attempts is placed as failed.
    max_attempts: int
    #: First pause after a failure, in seconds; doubled after each further one.
    retry_s: float
    max_retry_s: float

    def pause_s(self, num_faults: int) -> float:
        """Return the pause after the n-th failure in a row, n from 1."""
        return float(min(self.retry_s * 2 ** min(num_faults - 1, 30), self.max_retry_s))
