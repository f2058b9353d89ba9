"""Adapter from a trial to ``ray.tune.Trainable``; the only module here that imports Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ray import tune

from trainables.trial.result_packing import pack_result
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext


class TuneTrial(tune.Trainable):
    """Runs a ``Trial`` for Tune. The configuration carries ``key``, ``params``, ``seed`` and maybe ``image_share``.

    The state is kept in the trial's folder of the storage, not in Tune's checkpoints, which would be unpickled.
    """

    def setup(
        self, config: dict[str, Any], context: TrialContext | None = None, storage: Storage | None = None
    ) -> None:
        """Build the networks, and continue from the trial's checkpoint if it has one."""
        assert context is not None, "tune.with_parameters gives the context"
        assert storage is not None, "tune.with_parameters gives the storage"
        # A retry after running out of memory gets a whole GPU, whatever the share of other trials.
        granted = self.trial_resources.required_resources.get("GPU") if self.trial_resources else None
        self.context = replace(context, gpu_share=min(granted, 1.0)) if granted else context
        self.storage = storage
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Train and score one interval."""
        return pack_result(self.trial.step())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process, without importing and loading the data again."""
        del self.trial  # free its memory before the next networks are built
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        folder = self.storage.below(config["key"])
        self.trial = Trial(
            self.context,
            config["params"],
            config["seed"],
            folder,
            others=self.storage,
            image_share=config.get("image_share"),
        )
        self.trial.load()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the trial saves itself at every evaluation."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: ``setup`` has loaded the checkpoint."""
