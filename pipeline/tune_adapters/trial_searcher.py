"""Base class of the Ray Tune searchers that issue the trials of a sweep or the repeats of a plan."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ray.tune.search import Searcher

from pipeline.tune_adapters.retry import RetryState


class TrialSearcher(Searcher, ABC):
    """A searcher that knows how many trials are left; its state is kept elsewhere, and Tune saves none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = RetryState()
        """Replaced by the scheduler's while trials run."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Number of trials that are still to be issued."""

    @property
    @abstractmethod
    def running(self) -> int:
        """Number of trials that were issued and have not ended."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""
