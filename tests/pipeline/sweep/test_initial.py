"""Sweeps that start from an export: what it fixes, what is refused, and that the same weights are used ever after."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file
from safetensors.torch import save_file

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import DISCRIMINATOR, MANIFEST, read_json, write_manifest
from pipeline.cli.main import main
from pipeline.cluster.ray_runtime import this_machine
from pipeline.export.export import export_trial
from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.sweep.initial import FOLDER, describe_initial, fix_structure, read_initial
from pipeline.sweep.prepare import prepare, trial_context
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.resume import resume_settings
from search_spaces.registry import SPACES
from tests.support.pipeline.exports import write_bundle
from tests.support.pipeline.sweep import sweep, tiny_settings
from tests.support.pipeline.translators import write_translator
from tests.support.tiny import PAIR, painted_images, random_labels
from trainables.config import GanConfig
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError
from trainables.storage.storage import Storage
from trainables.systems.build import build_system
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pipeline.sweep import Swept


def with_discriminator(folder: Path, **params: Any) -> Path:
    """An export that holds a discriminator, too."""
    write_bundle(folder, **params)
    config = GanConfig.from_params(read_json(folder / "config.json")["params"])
    state = build_system(config, REPORT_VOCABULARY.sizes).discriminator.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / DISCRIMINATOR)
    write_manifest(folder, {"trial": "hand-00000", "run": "hand-00000", "sweep": "hand", "kimg": 60})
    return folder


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_discriminator(tmp_path_factory.mktemp("exports") / "winner")


def settings(export: Path, tmp_path: Path, space: str = "acgan", **more: Any) -> SweepSettings:
    given = {"image_size": 16, "init_from": export, "home": tmp_path / "home", **more}
    return SweepSettings(space, tmp_path / "faces", "next", **given)


def fixed(given: SweepSettings) -> tuple[SweepSettings, Any]:
    return fix_structure(given, Home.find(given.home))


def test_dimensions_of_structure_leave_the_space(export: Path, tmp_path: Path) -> None:
    whole, space = SPACES["acgan"], resolve_sweep(settings(export, tmp_path)).space
    left = {dimension.name for dimension in whole.dimensions} - {dimension.name for dimension in space.dimensions}
    assert {"generator.noise_dim", "generator.embedding_dim", "generator.final_norm"} <= left
    assert all(name.startswith(("generator.", "discriminator.", "tags.")) for name in left)
    assert {"optimizer.generator_lr", "losses.tag_weight", "generator.embedding_noise"} <= {
        dimension.name for dimension in space.dimensions
    }
    assert (space.recipe["generator.width"], space.recipe["generator.noise_dim"]) == (4, 8)
    assert space.recipe["discriminator.width"] == 4


def test_without_a_discriminator_its_networks_vary(tmp_path: Path) -> None:
    plain = write_bundle(tmp_path / "plain")
    space = resolve_sweep(settings(plain, tmp_path, "anything")).space
    names = {dimension.name for dimension in space.dimensions}
    assert "discriminator.width" in names
    assert not {"generator.width", "system", "generator.norm"} & names
    with_it = resolve_sweep(settings(with_discriminator(tmp_path / "both"), tmp_path, "anything")).space
    assert "discriminator.width" not in {dimension.name for dimension in with_it.dimensions}


@pytest.mark.parametrize("name", [name for name in SPACES if name != "cyclegan"])
def test_a_sampled_network_of_every_space_fixes_that_space(name: str, tmp_path: Path) -> None:
    """Of every space, networks with other values than the recipe's."""
    space = SPACES[name].without("image_size", 16)
    rng = np.random.default_rng(3)

    class Draw:
        def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
            return int(rng.integers(low, high + 1))

        def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
            return float(rng.uniform(low, high))

        def suggest_categorical(self, name: str, choices: Any) -> Any:
            return choices[rng.integers(len(choices))]

    for place in range(4):
        params = space.sample(Draw())
        small = {"generator.width": 4, "discriminator.width": 2}
        config = GanConfig.from_params({**params, **small})
        folder = tmp_path / f"{place}"
        _write(folder, config)
        resolved = resolve_sweep(settings(folder, tmp_path, name))
        assert resolved.training.initial is not None
        again = GanConfig.from_params(resolved.space.recipe)
        for section in ("generator", "discriminator"):
            mine, own = (dataclasses.asdict(getattr(one, section)) for one in (again, config))
            for free in ("embedding_noise", "norm_momentum"):
                mine.pop(free, None), own.pop(free, None)
            assert mine == own
        assert (again.system, again.tags) == (config.system, config.tags)


def _write(folder: Path, config: GanConfig) -> None:
    pairs = ((8, 9), (8, 7), (7, 9)) if config.tags.encoding == "pairs" else ()
    write_bundle(folder)
    torch.manual_seed(0)
    system = build_system(config, REPORT_VOCABULARY.sizes, (), pairs)
    for network, name in ((system.generator, "weights.safetensors"), (system.discriminator, DISCRIMINATOR)):
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / name)
    (folder / "config.json").write_text(json.dumps({"params": config.to_params(), "pairs": pairs}), encoding="utf-8")
    write_manifest(folder, {})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"space": "dcgan"}, ("'acgan'", "dcgan")),
        ({"image_size": 32}, ("--image-size is 32", "--image-size 16")),
        ({"channels": 1}, ("--channels is 1", "--channels 3")),
        ({"fix": {"generator.width": 32}}, ("--fix generator.width=32", "have generator.width 4", "leave")),
        ({"set": {"generator.noise_dim": 64}}, ("--set generator.noise_dim=64", "generator.noise_dim 8")),
        ({"choices": {"generator.embedding_dim": [4, 8]}}, ("--choices generator.embedding_dim=4,8", "leave")),
        ({"range": {"generator.embedding_dim": (4, 8)}}, ("--range generator.embedding_dim=4:8", "leave")),
    ],
)  # fmt: skip
def test_what_contradicts_the_weights_is_refused(
    export: Path, tmp_path: Path, more: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as refused:
        fixed(settings(export, tmp_path, **more))
    assert "\n" not in str(refused.value)
    assert str(export) in str(refused.value)
    assert all(word in str(refused.value) for word in words)


def test_what_agrees_with_the_weights_is_taken(export: Path, tmp_path: Path) -> None:
    given = settings(export, tmp_path, fix={"generator.width": 4, "losses.tag_weight": 2.0})
    once, initial = fixed(given)
    assert initial is not None
    assert [pair for pair in once.fix if pair.startswith("generator.width")] == ["generator.width=4"]
    assert fixed(once)[0] == once


def test_no_export_is_refused_before_the_data_are_read(
    tmp_path: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", "acgan", "--data", str(faces), "--name", "n", "--image-size", "16", "--home", str(tmp_path / "home")]
    assert main([*line, "--init-from", str(faces)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is no export" in error
    damaged = with_discriminator(tmp_path / "damaged")
    with (damaged / DISCRIMINATOR).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert main([*line, "--init-from", str(damaged)]) == 1
    assert "discriminator.safetensors was changed" in capsys.readouterr().err


def test_the_user_reads_what_is_fixed_and_what_fits(export: Path, tmp_path: Path) -> None:
    given, initial = fixed(settings(export, tmp_path))
    space = given.resolve_space()
    own = painted_images(random_labels(40, REPORT_VOCABULARY.sizes), REPORT_VOCABULARY)
    lines = list(describe_initial(given, space, initial, own))
    assert lines[0] == f"starts from {export} (sweep hand, hand-00000, 60 kimg)"
    assert lines[1].startswith("fixed by it: ")
    assert "generator.noise_dim=8" in lines[1]
    counts = [sum(value.size for value in load_file(export / name).values()) for name in ("weights.safetensors",)]
    assert len(lines) == 3
    loaded = lines[2].split(" of ")[0].removeprefix("generator: ").replace(",", "")
    buffers = sum(
        v.size for k, v in load_file(export / "weights.safetensors").items() if "running" in k or "num_b" in k
    )
    assert int(loaded) == counts[0] - buffers
    other = list(describe_initial(given, space, initial, painted_images(random_labels(40), PAIR)))
    assert "start fresh: " in other[3]
    assert "discriminator.head.tags.1.weight" in other[3]  # dark and light eyes, which the export does not know


def test_without_a_discriminator_the_user_is_told(tmp_path: Path) -> None:
    given, initial = fixed(settings(write_bundle(tmp_path / "plain"), tmp_path))
    own = painted_images(random_labels(40, REPORT_VOCABULARY.sizes), REPORT_VOCABULARY)
    *_, last = describe_initial(given, given.resolve_space(), initial, own)
    assert "no discriminator, which starts fresh" in last


def test_domains_of_cyclegan_are_not_exchanged(tmp_path: Path) -> None:

    folder = write_translator(tmp_path / "cycle", "cyclegan")
    vocabulary = Bundle.load(folder).vocabulary
    given, initial = fixed(settings(folder, tmp_path, "cyclegan"))
    images = painted_images(random_labels(20, vocabulary.sizes), vocabulary)
    images = dataclasses.replace(images, targets=("domain",))
    assert list(describe_initial(given, given.resolve_space(), initial, images))
    swapped = [dataclasses.replace(g, classes=g.classes[::-1]) for g in vocabulary.groups]
    other = dataclasses.replace(images, vocabulary=dataclasses.replace(vocabulary, groups=tuple(swapped)))
    with pytest.raises(UserError, match="black hair and blonde hair and the data between blonde hair and black hair"):
        list(describe_initial(given, given.resolve_space(), initial, other))


@pytest.mark.slow
def test_a_sweep_starts_from_the_export_and_continues_with_its_own_copy(
    swept: Swept, faces: Path, tmp_path: Path
) -> None:
    export = tmp_path / "winner"
    export_trial(swept.home, swept.settings.name, export)
    assert DISCRIMINATOR in read_json(export / MANIFEST)["files"]
    given = tiny_settings(
        swept.settings.home, faces, "tuned", trials=2, fix=("updates.generator_steps=1", "training.batch_size=32"),
        init_from=export,
    )  # fmt: skip
    result = sweep(given)
    assert result.status == "complete"
    assert f"starts from {export}" in result.printed
    kept = Home.find(given.home).sweep("tuned") / FOLDER
    assert read_initial(kept).source["weights"] == read_json(export / MANIFEST)["files"]["weights.safetensors"]
    shutil.rmtree(export)
    again = resolve_sweep(resume_settings("tuned", given.home))
    assert again.training.initial is not None
    # A trial of this sweep draws, before its first step, what the export draws.
    prepared = prepare(again, (this_machine(),), Console(quiet=True))
    context = trial_context(prepared.images, prepared.scoring.future.result().scorer, again.training, again.budget,
                            prepared.resources, again.space.recipe)  # fmt: skip
    trial = Trial(context, again.space.recipe, 5, Storage(str(tmp_path / "trial")))
    bundle, labels = Bundle.load(kept), np.array([[8, 9], [0, 0], [3, 2]])
    noise = bundle.noise(range(3), 1)
    drawn = trial.evaluator.generator.eval()
    with torch.inference_mode():
        images = drawn.image(torch.from_numpy(noise), torch.from_numpy(labels)).numpy()
    assert np.array_equal(images, bundle.network.render(noise, labels))
    about = json.loads((result.folder / "tuned-00001" / "config.json").read_text(encoding="utf-8"))
    assert about["init_from"]["weights"] == read_initial(kept).source["weights"]
    # What confirms a trial of it starts there, too; a copy that was changed is refused.
    home = str(given.home)
    assert main(["confirm", "tuned", "--trial", "tuned-00000", "--seeds", "1", "--home", home]) == 0
    repeated = json.loads((result.folder / "tuned-00000-c00" / "config.json").read_text(encoding="utf-8"))
    assert repeated["init_from"] == about["init_from"]
    (kept / "weights.safetensors").write_bytes(b"other")
    assert main(["extend", "tuned", "--trials", "1", "--home", home]) == 1
