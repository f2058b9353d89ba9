"""The thin skin between a trial and Ray Tune: all that this package knows of Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ray import tune

from trainables.report import folded
from trainables.trial import Trial

if TYPE_CHECKING:
    from trainables.storage import Storage
    from trainables.trial import TrialContext


class TuneTrial(tune.Trainable):
    """Runs a ``Trial`` for Tune. The configuration carries ``key``, ``params`` and ``seed``.

    State lives in the trial's own folder of the storage, not in Tune's checkpoints, which would be unpickled.
    """

    def setup(
        self, config: dict[str, Any], context: TrialContext | None = None, storage: Storage | None = None
    ) -> None:
        """Build the networks, and continue from the trial's checkpoint when there is one."""
        assert context is not None, "tune.with_parameters gives the context"
        assert storage is not None, "tune.with_parameters gives the storage"
        # A second try for want of memory has a whole GPU, whatever the share of the others.
        granted = self.trial_resources.required_resources.get("GPU") if self.trial_resources else None
        self.context = replace(context, gpu_share=min(granted, 1.0)) if granted else context
        self.storage = storage
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Train and score one interval."""
        return folded(self.trial.step())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process, which spares it the imports and the data."""
        del self.trial  # its memory goes before the next networks come
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        own = self.storage.below(config["key"])
        self.trial = Trial(self.context, config["params"], config["seed"], own, others=self.storage)
        self.trial.load()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial saves itself at every evaluation."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: ``setup`` has loaded what there is."""
