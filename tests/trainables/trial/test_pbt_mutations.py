"""Population-based training: a trial copies the networks of another one and changes its own values."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.tiny import cheap_context, evaluations, random_data, same, tiny_config
from trainables.storage.storage import Storage
from trainables.systems.conditional import ConditionalGan
from trainables.training.loop import TrainingLoop
from trainables.trial.context import TrialContext
from trainables.trial.pbt_mutations import mutated, order_mutation, read_mutations
from trainables.trial.trial import Trial

PARAMS = {"generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4, "training.batch_size": 50}
RATE = "optimizer.generator_lr"


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    with cheap_context(tmp_path_factory.mktemp("cache"), evaluations(3), failure_rules=()) as made:
        yield made


def make(context: TrialContext, folder: Path, key: str, seed: int = 1, **changes: object) -> Trial:
    everything = Storage(str(folder), in_place=True)
    return Trial(context, PARAMS | changes, seed, everything.below(key), others=everything)


def weights(trial: Trial) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trial.loop.generator.state_dict().items()}


def order(trial: Trial, kimg: int, source: str, **params: float) -> None:
    values = {name.replace("__", "."): value for name, value in params.items()}
    order_mutation(trial.storage, {"kimg": kimg, "source": source, "params": values})


def config_file(trial: Trial) -> dict:
    return json.loads((Path(trial.storage.location) / "config.json").read_text())


def test_an_order_is_carried_out_before_the_next_interval_and_shows_everywhere(context, tmp_path) -> None:
    best, worst = make(context, tmp_path, "best", seed=2), make(context, tmp_path, "worst")
    best.step()
    first = worst.step()
    assert "mutations" not in first
    # No step of either network: what the trial draws then are the other's images.
    order(worst, 1, "best", optimizer__generator_lr=1e-8, optimizer__discriminator_lr=1e-8)
    second = worst.step()
    assert (second["kimg"], second["mutations"], second["mutated/optimizer.generator_lr"]) == (2, 1, 1e-8)
    for name, value in weights(best).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(weights(worst)[name], value, atol=1e-5, rtol=1e-4)
    about = config_file(worst)
    assert about["params"][RATE] == 2e-4
    assert about["mutations"] == read_mutations(worst.storage)
    assert "mutations" not in config_file(best)
    assert worst.step()["mutations"] == 1  # carried out once


def test_a_mutated_trial_that_is_resumed_goes_on_as_if_it_had_never_stopped(context, tmp_path) -> None:
    make(context, tmp_path, "best", seed=2).step()
    changes = {"optimizer__generator_lr": 7e-4, "losses__tag_weight": 3.0}
    # One after the other: trials of one process share its random numbers.
    whole = make(context, tmp_path, "whole")
    whole.step()
    order(whole, 1, "best", **changes)
    whole.step()
    whole.step()
    stopped = make(context, tmp_path, "part")
    stopped.step()
    order(stopped, 1, "best", **changes)
    # One that stopped before it had carried the order out, and one that had.
    early = make(context, tmp_path, "part")
    assert early.load()
    early.step()
    late = make(context, tmp_path, "part")
    assert "mutations" not in config_file(late)
    assert late.load()
    assert config_file(late)["mutations"] == read_mutations(late.storage)
    assert (late.config.optimizer.generator_lr, late.loop.system.config.losses.tag_weight) == (7e-4, 3.0)
    assert late.step()["mutations"] == 1
    assert same(weights(late), weights(whole))
    assert same(late.loop.state_dict()["generator_optimizer"], whole.loop.state_dict()["generator_optimizer"])


@pytest.mark.parametrize(("source", "changes"), [("gone", {}), ("wide", {"generator.width": 8})])
def test_networks_that_are_gone_or_do_not_fit_leave_the_trial_as_it_is(context, tmp_path, source, changes) -> None:
    if changes:
        make(context, tmp_path, source, **changes).step()
    plain = make(context, tmp_path, "plain")
    plain.step()
    other = plain.step()
    trial = make(context, tmp_path, "own")
    trial.step()
    order(trial, 1, source, optimizer__generator_lr=1e-8)
    result = trial.step()
    assert result["notice"].startswith(f"keeps its networks, for those of {source} cannot be taken over: ")
    assert "mutations" not in result
    assert same(weights(trial), weights(plain))
    assert result["g_loss"] == other["g_loss"]
    assert trial.config.optimizer.generator_lr == 2e-4


def test_networks_trained_more_than_an_interval_longer_stay_where_they_are(context, tmp_path) -> None:
    """Evaluations at 1, 2 and 3 kimg: at 1, networks of 2 kimg are taken over, and none of 3."""
    ahead = make(context, tmp_path, "ahead", seed=2)
    ahead.step()
    ahead.step()
    near = make(context, tmp_path, "near")
    near.step()
    order(near, 1, "ahead", optimizer__generator_lr=1e-8)
    assert near.step()["mutations"] == 1
    ahead.step()
    ahead.save()  # its two checkpoints are of 3 kimg now
    plain = make(context, tmp_path, "plain")
    plain.step()
    plain.step()
    far = make(context, tmp_path, "far")
    far.step()
    order(far, 1, "ahead", optimizer__generator_lr=1e-8)
    result = far.step()
    assert "its networks were trained for 3 kimg, and the trial stands at 1" in result["notice"]
    assert "mutations" not in result
    assert same(weights(far), weights(plain))


def test_the_older_checkpoint_of_a_source_that_is_ahead_serves(context, tmp_path) -> None:
    ahead = make(context, tmp_path, "ahead", seed=2)
    ahead.step()
    ahead.step()
    second = weights(ahead)
    ahead.step()
    trial = make(context, tmp_path, "own")
    trial.step()
    order(trial, 1, "ahead", optimizer__generator_lr=1e-8, optimizer__discriminator_lr=1e-8)
    assert trial.step()["mutations"] == 1
    for name, value in second.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(weights(trial)[name], value, atol=1e-5, rtol=1e-4)


def test_orders_of_other_rungs_and_after_the_end_are_left_alone(context, tmp_path) -> None:
    trial = make(replace(context, evaluations=evaluations(2)), tmp_path, "own")
    trial.step()
    order(trial, 2, "own", optimizer__generator_lr=1e-8)
    assert "mutations" not in trial.step()
    assert "notice" not in trial.step()


def test_a_loop_takes_over_all_that_is_learnt_and_keeps_its_own_place() -> None:
    torch.manual_seed(0)
    loops = []
    for images in (160, 320):
        config = tiny_config(training__ema_decay=0.9)
        loop = TrainingLoop(ConditionalGan(config, (3, 2)), random_data(), config)
        loop.train_until(images)
        loops.append(loop)
    own, other = loops
    own.adopt(other.state_dict())
    for name in ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer"):
        assert same(own.state_dict()[name], other.state_dict()[name])
    assert (own.images_seen, own.updates) == (160, 20)
    before = own.state_dict()["generator"]
    wide = tiny_config(discriminator__width=4)
    with pytest.raises(ValueError, match="its discriminator has another shape"):
        own.adopt(TrainingLoop(ConditionalGan(wide, (3, 2)), random_data(), wide).state_dict())
    assert same(own.state_dict()["generator"], before)


def test_a_loop_that_copies_networks_keeps_its_optimizer_options() -> None:
    mine = tiny_config(optimizer__beta1=0.5, optimizer__beta2=0.9, optimizer__generator_lr=3e-4)
    theirs = tiny_config(optimizer__beta1=0.0, optimizer__beta2=0.99, optimizer__generator_lr=1e-5)
    own, other = (TrainingLoop(ConditionalGan(config, (3, 2)), random_data(), config) for config in (mine, theirs))
    other.train_until(160)
    own.adopt(other.state_dict())
    own.reconfigure(mine)
    assert [group["lr"] for group in own.generator_optimizer.param_groups] == [3e-4]
    for optimizer in (own.generator_optimizer, own.discriminator_optimizer):
        assert [tuple(group["betas"]) for group in optimizer.param_groups] == [(0.5, 0.9)]


def test_a_loop_without_an_average_takes_over_the_generator_and_not_its_average() -> None:
    plain, averaged = tiny_config(training__ema_decay=0.0), tiny_config(training__ema_decay=0.9)
    own, other = (TrainingLoop(ConditionalGan(config, (3, 2)), random_data(), config) for config in (plain, averaged))
    other.train_until(320)
    state = other.state_dict()
    assert not same(state["generator"], state["average"])
    own.adopt(state)
    assert same(own.state_dict()["generator"], state["generator"])
    assert same(own.state_dict()["average"], state["generator"])


def test_later_mutations_win() -> None:
    first = {"kimg": 1, "source": "a", "params": {"x": 2.0, "y": 3.0}}
    second = {"kimg": 2, "source": "b", "params": {"x": 5.0}}
    assert mutated({"x": 1.0, "y": 1.0, "z": 1.0}, [first, second]) == {"x": 5.0, "y": 3.0, "z": 1.0}
