"""One trial from its first interval to its last, stopped and continued, on drawn faces of 16 px."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from tests.support.tiny import Extractors, TagClassifierStub, drawn_faces, evaluations, same
from trainables.config import GanConfig
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError
from trainables.networks.blocks import count_parameters
from trainables.networks.generator import Generator
from trainables.scoring.extractors import registry
from trainables.scoring.extractors.registry import ExtractorChoice, open_extractor
from trainables.scoring.scorer import make_scorer
from trainables.storage.storage import Storage
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.evaluator import Evaluator
from trainables.trial.trial import Trial
from trainables.visuals.panels import ROWS, common_tags

PARAMS = {
    "generator.width": 4,
    "generator.noise_dim": 8,
    "discriminator.width": 4,
    "training.batch_size": 50,
}
FIGURES = {
    "d_adversarial_loss_real", "d_adversarial_loss_fake", "d_score_real", "d_score_fake", "d_tag_loss_real",
    "d_at_floor_real", "d_at_floor_fake", "d_sign_real",
    "d_loss_real", "d_loss_fake", "g_adversarial_loss", "g_tag_loss", "g_loss", "d_gradient_norm", "g_gradient_norm",
    "images_per_second",
}  # fmt: skip
SCORES = {
    "samples", "distance", "fd_stub", "kid", "tag_accuracy", "tag_accuracy_hair", "tag_accuracy_eyes",
    "tag_accuracy_macro_hair", "tag_accuracy_macro_eyes", "diversity", "tag_diversity", "grid_energy", "saturated",
}  # fmt: skip
LATE = {"precision", "recall", "density", "coverage", "memorised"}
OWN = {
    "kimg", "seconds", "done", "pictures", "train_seconds", "score_seconds", "generator_parameters",
    "discriminator_parameters", "flops_per_image", "generator_latency_ms",
}  # fmt: skip


def make_context(cache: Path, extractor: str) -> TrialContext:
    images = drawn_faces()
    tag_classifier = TagClassifierStub(images.vocabulary)
    scores = make_scorer(images, tag_classifier, extractor=ExtractorChoice(extractor), samples=24, seed=0, cache=cache)[
        0
    ]
    return TrialContext(images, scores, (Evaluation(2, 16), Evaluation(3, 24)))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Two intervals, scored by twelve features that cost no time, on 16 images and at the end on 24."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "open_extractor", Extractors())
        yield make_context(tmp_path_factory.mktemp("cache"), "stub")


@pytest.fixture(scope="module")
def finished(context, tmp_path_factory) -> tuple[Trial, list[dict]]:
    trial = make(context, tmp_path_factory.mktemp("trial") / "new" / "folder")
    return trial, [trial.step(), trial.step()]


def make(context: TrialContext, folder: Path, seed: int = 1, **changes) -> Trial:
    return Trial(context, PARAMS | changes, seed, Storage(str(folder), in_place=True))


def folder(trial: Trial) -> Path:
    return Path(trial.storage.location)


def networks(trial: Trial) -> list[dict]:
    return [dict(network.named_parameters()) for network in (trial.loop.generator, trial.loop.discriminator)]


def test_intervals_end_at_the_budget(finished) -> None:
    trial, results = finished
    assert [(result["kimg"], result["done"]) for result in results] == [(2, False), (3, True)]
    assert trial.loop.images_seen == 3000
    assert trial.loop.updates == 60  # batches of 50, one a step


def test_results_have_every_figure_and_score(finished) -> None:
    assert [result["samples"] for result in finished[1]] == [16, 24]
    for result in finished[1]:
        extra = {name for name in result if name.startswith(("system/", "interval/", "class_accuracy/"))}
        late = LATE if result["done"] else set()
        # Two real images of the same two tags are rare among so few.
        assert set(result) - extra - {"tag_diversity"} == (OWN | FIGURES | SCORES | late) - {"tag_diversity"}
        assert ("interval/distance/low" in extra) == ("interval/kid/high" in extra) == result["done"]
        assert {"system/process_memory_megabytes", "system/system_memory_usage_percentage"} <= extra
        numbers = [value for name, value in result.items() if name not in ("done", "pictures")]
        assert np.isfinite(numbers).all()
        assert result["distance"] == result["fd_stub"] > 0
        assert 0 <= result["tag_accuracy"] <= min(result["tag_accuracy_hair"], result["tag_accuracy_eyes"])
        assert 50 < result["system/process_memory_megabytes"] < 64_000


def test_seconds_add_up_and_parameters_are_counted(finished) -> None:
    trial, (first, second) = finished
    assert 0 < first["score_seconds"] < first["seconds"] + 5
    assert second["seconds"] > first["seconds"] + 0.01
    # 16 px, width 4: 4 -> 8 -> 16; 8 + 2 * 8 = 24 inputs; 12 + 11 classes
    generator = 23 * 8 + (24 * 16 * 16 + 3 * 16) + (16 * 8 * 16 + 3 * 8) + (8 * 4 * 9 + 3 * 4) + (4 * 3 * 16 + 3)
    discriminator = (3 * 4 * 16 + 4) + (4 * 8 * 16 + 3 * 8) + (8 * 16 + 1) * 24
    assert (first["generator_parameters"], first["discriminator_parameters"]) == (generator, discriminator)
    assert count_parameters(trial.loop.generator) == generator


def test_the_latency_is_of_one_image_by_the_trials_own_clock(context, tmp_path, monkeypatch) -> None:
    """Time passes only where images are drawn, and by their number."""
    now, draw = [0.0], Evaluator.draw

    def slow(self, noise: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        now[0] += 0.007 * len(noise)
        return draw(self, noise, tags)

    monkeypatch.setattr(Evaluator, "draw", slow)
    trial = Trial(context, PARAMS, 1, Storage(str(tmp_path), in_place=True), lambda: now[0])
    results = [trial.step(), trial.step()]
    assert [result["generator_latency_ms"] for result in results] == pytest.approx([7.0, 7.0])
    assert results[-1]["seconds"] == pytest.approx(now[0])


def test_the_folder_says_what_was_trained(finished) -> None:
    trial, _ = finished
    about = json.loads((folder(trial) / "config.json").read_text())
    assert about["seed"] == 1
    assert GanConfig.from_params(about["params"]) == GanConfig.from_params(PARAMS | {"image_size": 16})
    left = {path.relative_to(folder(trial)).as_posix() for path in folder(trial).rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith("checkpoints/")} == {
        "config.json", "generator.safetensors", "best.safetensors", "results.jsonl",
        "samples/kimg-000002.png", "samples/kimg-000003.png",
        "panels/noise.png", "panels/hair.png", "panels/eyes.png", "panels/grid.png",
        "panels/confusion.json",
        "panels/confusion.png",
    }  # fmt: skip


def test_the_weights_file_draws_the_same_images(finished) -> None:
    trial, _ = finished
    path = folder(trial) / "generator.safetensors"
    generator = Generator(trial.config, (12, 11)).eval()
    generator.load_state_dict(load_file(path))
    noise, tags = torch.randn(3, 8), torch.tensor([[0, 1], [5, 5], [11, 10]])
    with torch.no_grad():
        torch.testing.assert_close(generator(noise, tags), trial.evaluator.draw(noise, tags), rtol=1e-5, atol=1e-5)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"kimg": "3"}


def test_samples_are_rows_of_tags_and_columns_of_noise(finished) -> None:
    trial, results = finished
    assert results[0]["pictures"] == ["samples/kimg-000002.png"]
    panels = [f"panels/{name}.png" for name in ("noise", "hair", "eyes", "grid", "confusion")]
    assert results[1]["pictures"] == ["samples/kimg-000003.png", *panels, "panels/confusion.json"]
    with Image.open(folder(trial) / results[0]["pictures"][0]) as image:
        pixels = np.asarray(image)
    side = 64 + 2  # 16 px enlarged four times, and a gap
    assert pixels.shape[0] == 8 * side
    tiles = pixels[:, -8 * side :].reshape(8, side, 8, side, 3)[:, :64, :, :64]
    assert (tiles[:, ::4, :, ::4] == tiles[:, 3::4, :, 3::4]).all()  # each pixel is a square of four
    flat = tiles.transpose(0, 2, 1, 3, 4).reshape(64, -1)
    assert len(np.unique(flat, axis=0)) > 32  # both tags and noise vary


def test_equal_seeds_give_equal_trials_and_others_do_not(context, finished, tmp_path) -> None:
    results = [make(context, tmp_path / str(seed), seed).step() for seed in (1, 2)]
    assert results[0]["distance"] == pytest.approx(finished[1][0]["distance"], rel=1e-6)
    assert results[0]["g_loss"] == pytest.approx(finished[1][0]["g_loss"], rel=1e-6)
    assert results[1]["distance"] != pytest.approx(results[0]["distance"], rel=1e-3)


def test_a_loaded_trial_goes_on_as_if_it_had_never_stopped(context, finished, tmp_path) -> None:
    stopped = make(context, tmp_path)
    assert not stopped.load()  # nothing there yet
    before = stopped.step()
    loaded = make(context, tmp_path, seed=7)
    assert loaded.load()
    assert (loaded.kimg, loaded.loop.images_seen) == (2, 2000)
    assert loaded.seconds == stopped.seconds == before["seconds"]
    result = loaded.step()
    assert (result["kimg"], result["done"]) == (3, True)
    assert result["seconds"] > before["seconds"]
    assert same(networks(loaded), networks(finished[0]))
    assert result["distance"] == pytest.approx(finished[1][1]["distance"], rel=1e-6)


def test_scoring_more_often_does_not_change_training(context, finished, tmp_path) -> None:
    trial = make(replace(context, evaluations=evaluations(3)), tmp_path)
    assert [trial.step()["kimg"] for _ in range(3)] == [1, 2, 3]
    assert same(networks(trial), networks(finished[0]))


def test_a_finished_trial_stays_where_it_is(context, finished, tmp_path) -> None:
    trial = make(replace(context, evaluations=evaluations(1)), tmp_path)
    trial.step()
    weights = [{name: value.clone() for name, value in network.items()} for network in networks(trial)]
    assert trial.step()["kimg"] == 1
    assert same(networks(trial), weights)


def test_a_diverged_trial_fails_and_is_done(context, tmp_path) -> None:
    trial = make(context, tmp_path)
    trial.step()
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with torch.no_grad():
        trial.loop.generator.body[-1].weight.fill_(float("nan"))
    result = trial.step()
    assert result["done"] is True
    assert result["failure"].startswith("diverged: ")
    assert "is nan after" in result["failure"]
    assert "distance" not in result
    assert result["kimg"] == 2
    assert result["seconds"] > 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == saved


def test_the_size_is_that_of_the_images(context, tmp_path) -> None:
    assert make(context, tmp_path, image_size=64).config.image_size == 16


def test_a_wrong_parameter_is_refused_before_anything_is_written(context, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'generator\.width'"):
        make(context, tmp_path / "none", **{"generator.widht": 4})
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("extra", "count"), [(False, 40), (True, 48)])
def test_incompletely_tagged_images_are_extra_and_never_asked_for(context, tmp_path, extra, count) -> None:
    trial = make(context, tmp_path, **{"training.extra_data": extra})
    data = trial.loop.data
    assert (len(data.images), len(data.labels), len(data.tags)) == (count, count, 40)
    assert (data.labels == UNKNOWN).sum().item() == count - 40
    assert data.tags.min() >= 0
    figures = trial.loop.train_until(200)
    assert all(np.isfinite(value) for value in figures.values())


def test_the_averaged_generator_is_the_one_scored_and_kept(context, tmp_path) -> None:
    trial = make(replace(context, evaluations=evaluations(1)), tmp_path, **{"training.ema_decay": 0.9})
    trial.step()
    kept = load_file(tmp_path / "generator.safetensors")
    assert same(kept, dict(trial.loop.average.state_dict()))
    assert not torch.equal(kept["body.3.weight"], trial.loop.generator.state_dict()["body.3.weight"])


def test_a_trials_images_do_not_depend_on_their_batch(finished) -> None:
    trial, _ = finished
    noise, tags = torch.randn(4, 8), torch.tensor([[0, 1], [5, 5], [11, 10], [3, 3]])
    torch.testing.assert_close(
        trial.evaluator.draw(noise, tags)[:1], trial.evaluator.draw(noise[:1], tags[:1]), rtol=1e-4, atol=1e-5
    )


def test_the_default_extractor_scores_a_trial(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "open_extractor", open_extractor)
    trial = make(
        replace(make_context(tmp_path / "cache", "efficientnet"), evaluations=evaluations(1)), tmp_path / "trial"
    )
    result = trial.step()
    assert result["distance"] == result["fd_efficientnet"]
    assert np.isfinite(result["distance"])
    assert result["distance"] > 1


def test_sampled_tags_are_the_commonest_pair_of_each_common_class() -> None:
    labels = np.array([[0, 0]] + [[0, 1]] * 2 + [[1, 2]] * 5 + [[1, 0]] * 4 + [[2, 0], [2, 3]])
    # 1 occurs nine times, 0 three times, 2 twice; the two pairs of 2 are equally common: the first
    assert common_tags(labels).tolist() == [[1, 2], [0, 1], [2, 0]]


def test_at_most_so_many_classes_are_sampled_and_the_rarest_left_out() -> None:
    labels = np.repeat(np.arange(ROWS + 2), np.arange(1, ROWS + 3))[:, None]
    assert common_tags(labels).ravel().tolist() == list(range(ROWS + 1, 1, -1))


def test_panels_are_drawn_at_the_end_of_a_conditional_trial(finished) -> None:
    trial, _ = finished
    side = 64 + 2
    for name, rows, columns in (("noise", 8, 8), ("hair", 4, 12), ("eyes", 4, 11), ("grid", 12, 11)):
        with Image.open(folder(trial) / "panels" / f"{name}.png") as image:
            assert image.height == rows * side
            assert columns * side < image.width < (columns + 6) * side  # and names beside the rows


def test_a_panels_rows_share_their_noise(finished) -> None:
    """One noise in the whole grid: its image of a pair is the panel's of the same pair and noise."""
    trial, _ = finished
    side = 64 + 2

    def tiles(name: str, columns: int) -> np.ndarray:
        with Image.open(folder(trial) / "panels" / f"{name}.png") as image:
            pixels = np.asarray(image)
        rows = pixels.shape[0] // side
        drawn = pixels[:, -columns * side :].reshape(rows, side, columns, side, 3)
        return drawn[:, :64:4, :, :64:4].transpose(0, 2, 1, 3, 4).astype(int)

    grid, hair, eyes = tiles("grid", 11), tiles("hair", 12), tiles("eyes", 11)
    common = common_tags(trial.context.images.labels[: trial.context.images.complete], most=1)[0]
    assert np.abs(grid[:, common[1]] - hair[0]).max() <= 1
    assert np.abs(grid[common[0]] - eyes[0]).max() <= 1
    assert np.abs(hair[0] - hair[1]).max() > 1


UNTAGGED = {"generator.conditioning": "none", "discriminator.conditioning": "none"}


def test_an_unconditional_trial_has_no_tag_accuracy_and_no_panels_of_tags(context, tmp_path) -> None:
    trial = make(replace(context, evaluations=evaluations(1)), tmp_path, **UNTAGGED)
    result = trial.step()
    assert result["done"]
    assert not [name for name in result if "tag" in name and not name.startswith("system/")]
    assert result["distance"] == result["fd_stub"] > 0
    assert result["pictures"] == ["samples/kimg-000001.png"]
    assert not (tmp_path / "panels").exists()


def test_pairs_of_the_data_travel_with_the_trial(context, tmp_path) -> None:
    changes = {"tags.encoding": "pairs", "generator.conditioning": "code", "discriminator.conditioning": "combo"}
    trial = make(replace(context, evaluations=evaluations(1)), tmp_path, **changes)
    labels = [tuple(row) for row in context.images.labels[: context.images.complete].tolist()]
    assert trial.pairs == tuple(dict.fromkeys(labels))
    about = json.loads((tmp_path / "config.json").read_text())
    assert [tuple(pair) for pair in about["pairs"]] == list(trial.pairs)
    assert trial.loop.system.encode.width == len(trial.pairs) < 40
    assert np.isfinite(trial.step()["distance"])
    assert make(context, tmp_path / "other").pairs == ()


def test_a_trial_that_takes_too_long_gives_its_last_result_again(context, tmp_path) -> None:
    trial = make(context, tmp_path)
    first = trial.step()
    trial.context = replace(context, max_seconds=1e-9)
    last = trial.step()
    assert last.pop("stopped").startswith("out of time: took more than 1e-09 s, ")
    spent = {"train_seconds": last["train_seconds"], "score_seconds": 0.0}
    assert last == {**first, **spent, "done": True}


def test_a_trial_that_takes_too_long_for_a_first_result_fails(context, tmp_path) -> None:
    result = make(replace(context, max_seconds=1e-9), tmp_path).step()
    assert (result["kimg"], result["done"]) == (0, True)
    # One update of 50 images is always made.
    assert result["failure"] == "out of time: took more than 1e-09 s, 0.1 kimg trained"


def test_what_a_score_draws_does_not_reach_the_training(context, finished, tmp_path, monkeypatch) -> None:
    # A worker builds the extractor, whose first weights are random, at its first trial's first score alone.
    ordinary = context.scorer.score
    monkeypatch.setattr(type(context.scorer), "score", lambda self, *a, **b: (torch.rand(7), ordinary(*a, **b))[1])
    second = make(context, tmp_path)
    second.step(), second.step()
    assert same(networks(second), networks(finished[0]))


def test_a_trial_in_bf16_says_so_and_trains_other_networks(context, finished, tmp_path) -> None:
    trial = make(replace(context, precision="bf16"), tmp_path)
    result = trial.step()
    assert json.loads((tmp_path / "config.json").read_text())["precision"] == "bf16"
    assert json.loads((folder(finished[0]) / "config.json").read_text())["precision"] == "float32"
    assert np.isfinite(result["distance"])
    plain = make(context, tmp_path / "plain")
    assert trial.loop.system.precision != plain.loop.system.precision
    plain.step()
    assert not same(networks(trial), networks(plain))
