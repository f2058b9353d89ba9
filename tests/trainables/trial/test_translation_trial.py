"""Trials of CycleGAN and StarGAN from their first interval to their last, stopped and continued, at 16 px."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from search_spaces.registry import SPACES
from tests.support.tiny import Extractors, TagClassifierStub, painted_images, same
from trainables.data.tags import TagGroup, Vocabulary
from trainables.scoring.extractors import registry
from trainables.scoring.extractors.registry import ExtractorChoice
from trainables.scoring.scorer import make_scorer
from trainables.storage.storage import Storage
from trainables.systems.build import build_generator
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.failure_detection import RULES
from trainables.trial.pbt_mutations import order_mutation
from trainables.trial.trial import Trial

DOMAINS = Vocabulary((TagGroup("domain", ("day", "night")), TagGroup("size", ("small", "large", "huge"))))
SMALL = {"generator.width": 4, "generator.blocks": 1, "discriminator.width": 4, "training.batch_size": 25}
SYSTEMS = ("cyclegan", "stargan")


def images(targets: tuple[str, ...] = ("domain",)):
    """40 images of day and 20 of night, with noise in the channel that shows no tag."""
    labels = np.stack([np.repeat([0, 1], [40, 20]), np.arange(60) % 3], axis=1)
    painted = painted_images(labels, DOMAINS)
    pixels = painted.pixels.copy()
    pixels[..., 2] = np.random.default_rng(0).integers(0, 256, pixels.shape[:3])
    return dataclasses.replace(painted, pixels=pixels, targets=targets)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Two intervals, scored on 16 images and at the end on 24."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "open_extractor", Extractors())
        data, choice, cache = images(), ExtractorChoice("stub"), tmp_path_factory.mktemp("cache")
        made, _ = make_scorer(
            data, TagClassifierStub(DOMAINS), extractor=choice, samples=24, seed=0, cache=cache, translates=True
        )
        yield TrialContext(data, made, (Evaluation(1, 16), Evaluation(2, 24)))


@pytest.fixture(scope="module", params=SYSTEMS)
def finished(request, context, tmp_path_factory) -> tuple[Trial, list[dict]]:
    trial = make(context, request.param, tmp_path_factory.mktemp("trial"))
    return trial, [trial.step(), trial.step()]


def make(context: TrialContext, system: str, folder: Path, seed: int = 1, **changes) -> Trial:
    params = {**SPACES[system].recipe, **SMALL, **changes}
    return Trial(context, params, seed, Storage(str(folder), in_place=True))


def folder(trial: Trial) -> Path:
    return Path(trial.storage.location)


def state(trial: Trial) -> dict:
    return {name: value for name, value in trial.loop.state_dict().items() if name != "figures"}


def test_a_translation_is_scored_and_ends_at_its_budget(finished) -> None:
    _, results = finished
    assert [(result["kimg"], result["done"], result["samples"]) for result in results] == [
        (1, False, 16),
        (2, True, 24),
    ]
    for result in results:
        assert {"distance", "fd_stub", "tag_accuracy", "tag_accuracy_domain", "preserved", "cycle_l1",
                "identity_l1", "source_feature_distance", "g_cycle_loss"} <= set(result)  # fmt: skip
        assert "failure" not in result
        numbers = [value for value in result.values() if isinstance(value, float)]
        assert np.isfinite(numbers).all()
    assert "interval/distance/low" in results[1]


def test_equal_seeds_and_a_stop_in_between_give_the_same_trial(context, finished, tmp_path) -> None:
    trial, results = finished
    system = trial.config.system
    make(context, system, tmp_path).step()
    loaded = make(context, system, tmp_path, seed=7)
    assert loaded.load()
    assert loaded.kimg == 1
    result = loaded.step()
    assert same(state(loaded), state(trial))
    assert result["distance"] == pytest.approx(results[1]["distance"], rel=1e-6)


def test_a_pool_is_part_of_the_checkpoint(context, tmp_path) -> None:
    make(context, "cyclegan", tmp_path).step()
    loaded = make(context, "cyclegan", tmp_path, seed=7)
    assert loaded.load()
    assert [len(pool.images) for pool in loaded.loop.system.pools] == [50, 50]


def test_the_weights_file_translates_the_same(finished) -> None:
    trial, _ = finished
    generator = build_generator(trial.config, DOMAINS.sizes, (0,)).eval()
    generator.load_state_dict(load_file(folder(trial) / "generator.safetensors"))
    images, labels = torch.rand(3, 3, 16, 16) * 2 - 1, torch.tensor([[1, 0], [0, 2], [1, 1]])
    with torch.no_grad():
        torch.testing.assert_close(generator(images, labels), trial.evaluator.translate(images, labels))
    assert json.loads((folder(trial) / "config.json").read_text())["params"]["system"] == trial.config.system


def test_sheets_show_the_same_sources_at_every_evaluation(finished) -> None:
    trial, results = finished
    assert results[0]["pictures"] == ["samples/kimg-000001.png"]
    assert results[1]["pictures"][:2] == ["samples/kimg-000002.png", "panels/translation.png"]
    first, second = (pixels(folder(trial) / result["pictures"][0]) for result in results)
    assert first.shape == second.shape
    assert (first != second).any()
    side = 66
    if trial.config.system == "cyclegan":  # rows of day and of night: source, there, back, itself
        assert first.shape[0] == 8 * side
        known = [first[row * side : row * side + 64, -8 * side :] for row in (0, 4)]
        again = [second[row * side : row * side + 64, -8 * side :] for row in (0, 4)]
    else:  # a source, day and night in each row
        assert first.shape[0] == 25 + 8 * side
        known, again = [first[25:, -3 * side : -2 * side]], [second[25:, -3 * side : -2 * side]]
    assert all(np.array_equal(one, other) for one, other in zip(known, again, strict=True))
    assert np.array_equal(second, pixels(folder(trial) / "panels/translation.png"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_trial_takes_over_anothers_networks_and_changes_its_weights(context, tmp_path) -> None:
    sweep = Storage(str(tmp_path), in_place=True)
    params = {**SPACES["cyclegan"].recipe, **SMALL}
    trials = [Trial(context, params, seed, sweep.below(name), others=sweep) for seed, name in enumerate("ab")]
    for trial in trials:
        trial.step()
    changed = {"losses.cycle_weight": 2.0, "losses.identity_weight": 0.5, "optimizer.generator_lr": 1e-3}
    order_mutation(trials[0].storage, {"kimg": 1, "source": "b", "params": changed})
    own_pool = trials[0].loop.system.pools[0].images.clone()
    trials[0]._mutate(sweep)
    assert same(trials[0].loop.generator.state_dict(), trials[1].loop.generator.state_dict())
    assert torch.equal(trials[0].loop.system.pools[0].images, own_pool)
    assert trials[0].loop.system.config.losses.cycle_weight == 2.0
    result = trials[0].step()
    assert (result["kimg"], result["mutated/losses.cycle_weight"]) == (2, 2.0)


def test_no_rule_ends_a_translation_that_is_only_poor(finished, context) -> None:
    """Images that nothing is done to are as diverse as real ones, however long it lasts."""
    _, results = finished
    last = dict(results[0])
    course = [{**last, "kimg": kimg} for kimg in (10, 40, 60)]
    assert [rule(course, 20.0) for rule in RULES.values()] == ["", ""]


@pytest.mark.parametrize(("system", "norm"), [("cyclegan", "batch"), ("stargan", "instance")])
def test_a_translation_does_not_depend_on_its_batch(context, tmp_path, system, norm) -> None:
    trial = make(context, system, tmp_path, **{"generator.norm": norm, "training.ema_decay": 0.9})
    trial.step()
    images, labels = torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([[1, 0], [0, 2], [1, 1], [0, 0]])
    whole = trial.evaluator.translate(images, labels)
    for row in range(4):
        alone = trial.evaluator.translate(images[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(whole[row : row + 1], alone, rtol=1e-4, atol=1e-5)
