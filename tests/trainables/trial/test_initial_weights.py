"""Training that starts from given weights: bitwise equal networks, and other vocabularies by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from search_spaces.registry import SPACES
from tests.support.tiny import tiny_config, tiny_translator
from trainables.config import GanConfig
from trainables.data.tags import TagGroup, Vocabulary
from trainables.networks.conditioning import TagEncoder
from trainables.storage.storage import Storage
from trainables.systems.build import build_system
from trainables.trial.initial_weights import InitialWeights, TagLayout, load_initial, structural_params
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from trainables.systems.system import System
    from trainables.trial.context import TrialContext

OLD = Vocabulary((TagGroup("hair", ("red", "green", "blue")), TagGroup("eyes", ("dark", "light"))))
NEW = Vocabulary((TagGroup("eyes", ("light", "odd", "dark")), TagGroup("hair", ("blue", "grey", "red", "black"))))
"""Other orders, two classes more and one less."""
REORDERED = Vocabulary((TagGroup("eyes", ("light", "dark")), TagGroup("hair", ("blue", "green", "red"))))
SHARED = [("red", "dark"), ("red", "light"), ("blue", "dark"), ("blue", "light")]
"""Hair and eyes that all three know."""
SMALL = {
    "image_size": 16, "generator.width": 4, "generator.max_width": 8, "generator.blocks": 1, "generator.noise_dim": 4,
    "discriminator.width": 2, "discriminator.max_width": 4, "training.batch_size": 8,
}  # fmt: skip


def arrays(network: nn.Module) -> dict[str, Any]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def saved(system: System, tags: TagLayout) -> InitialWeights:
    return InitialWeights(system.config, tags, arrays(system.generator), arrays(system.discriminator))


def shaken(config: GanConfig, tags: TagLayout, seed: int = 1) -> System:
    """Networks whose every weight and statistic differs from a fresh start."""
    torch.manual_seed(seed)
    system = build_system(config, tags.vocabulary.sizes, tags.targets, tags.pairs)
    for network in (system.generator, system.discriminator):
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
            else:
                value.add_(3)
    return system


def labels(vocabulary: Vocabulary, named: list[tuple[str, str]] = SHARED) -> Tensor:
    rows = [dict(zip(("hair", "eyes"), pair, strict=True)) for pair in named]
    return torch.tensor([[vocabulary.class_index(name, row[name]) for name in vocabulary.names] for row in rows])


@pytest.mark.parametrize("name", [name for name in SPACES if name not in ("anything", "cyclegan")])
def test_networks_of_every_recipe_start_bitwise_equal(name: str) -> None:
    recipe = SPACES[name].recipe
    small = {key: value for key, value in SMALL.items() if name != "stargan" or key != "generator.noise_dim"}
    config = GanConfig.from_params({**recipe, **small})
    tags = TagLayout(OLD, ((0, 0), (2, 1)) if recipe["tags.encoding"] == "pairs" else ())
    old = shaken(config, tags)
    new = build_system(config, OLD.sizes, (), tags.pairs)
    assert not torch.equal(next(new.generator.parameters()), next(old.generator.parameters()))
    report = load_initial(new, tags, saved(old, tags))
    for part in ("generator", "discriminator"):
        before, after = getattr(old, part), getattr(new, part)
        assert before.state_dict().keys() == after.state_dict().keys()
        for key, value in before.state_dict().items():
            assert torch.equal(after.state_dict()[key], value), key
        count = sum(parameter.numel() for parameter in before.parameters())
        assert (report[part].copied, report[part].total, report[part].fresh) == (count, count, ())


CONDITIONINGS = [
    ("embedding", "acgan", "one_hot"),
    ("code", "multilabel", "one_hot"),
    ("code", "concat", "one_hot_unknown"),
    ("linear", "product", "one_hot"),
    ("code", "map", "one_hot_none"),
    ("embedding", "projection", "one_hot"),
]
MIXING = [("code", "combo", "one_hot"), ("code", "concat", "pairs"), ("linear", "projection", "pairs")]
"""A new class changes what all others mean: only a vocabulary in another order gives the same images."""


@pytest.mark.parametrize("norm", ["batch", "conditional_batch"])
@pytest.mark.parametrize(
    ("conditionings", "vocabulary"),
    [*((one, NEW) for one in CONDITIONINGS), *((one, REORDERED) for one in (*CONDITIONINGS, *MIXING))],
)
def test_tags_mean_the_same_in_another_vocabulary(
    conditionings: tuple[str, str, str], vocabulary: Vocabulary, norm: str
) -> None:
    generator, discriminator, encoding = conditionings
    config = tiny_config(
        generator__conditioning=generator, discriminator__conditioning=discriminator, tags__encoding=encoding,
        generator__norm=norm,
    )  # fmt: skip
    layouts = []
    for one, order in ((OLD, SHARED), (vocabulary, SHARED[::-1])):
        pairs = tuple(tuple(row) for row in labels(one, order).tolist()) if encoding == "pairs" else ()
        layouts.append(TagLayout(one, pairs))
    old = shaken(config, layouts[0])
    new = build_system(config, vocabulary.sizes, (), layouts[1].pairs)
    load_initial(new, layouts[1], saved(old, layouts[0]))
    noise, images = torch.randn(len(SHARED), 4), torch.rand(len(SHARED), 3, 16, 16)
    asked = labels(OLD), labels(vocabulary)
    with torch.no_grad():
        drawn = [one.generator.eval()(noise, rows) for one, rows in zip((old, new), asked, strict=True)]
        encoders = [TagEncoder(encoding, layout.vocabulary.sizes, layout.pairs) for layout in layouts]
        judged = [
            one.discriminator.eval()(images, encode(rows))
            for one, encode, rows in zip((old, new), encoders, asked, strict=True)
        ]
    assert torch.allclose(drawn[0], drawn[1], atol=1e-6)
    assert not torch.allclose(drawn[0][0], drawn[0][2], atol=1e-3)  # tags matter
    assert torch.allclose(judged[0].realness, judged[1].realness, atol=1e-5)
    for place, group in enumerate(vocabulary.groups) if judged[0].tags else ():
        before = OLD.groups[OLD.index(group.name)]
        for name in set(group.classes) & set(before.classes):
            columns = [
                output.tags[at][:, classes.index(name)]
                for output, at, classes in (
                    (judged[0], OLD.index(group.name), before.classes), (judged[1], place, group.classes)
                )
            ]  # fmt: skip
            assert torch.allclose(*columns, atol=1e-5), name


@pytest.mark.parametrize(("targets", "others"), [((), ()), ((0, 1), (0, 1)), ((0,), (1,))])
def test_translations_mean_the_same_in_another_vocabulary(targets: tuple[int, ...], others: tuple[int, ...]) -> None:
    config = tiny_translator("stargan")
    old = shaken(config, TagLayout(OLD, (), targets))
    new = build_system(config, NEW.sizes, others)
    load_initial(new, TagLayout(NEW, (), others), saved(old, TagLayout(OLD, (), targets)))
    images = torch.rand(len(SHARED), 3, 16, 16) * 2 - 1
    with torch.no_grad():
        drawn = old.generator.eval()(images, labels(OLD)), new.generator.eval()(images, labels(NEW))
        hair = [
            one.discriminator.eval()(images).tags[at] for one, at in ((old, 0), (new, len(new.discriminator.tags) - 1))
        ]
    assert torch.allclose(*drawn, atol=1e-6)
    assert torch.allclose(hair[0][:, [0, 2]], hair[1][:, [2, 0]], atol=1e-6)  # red and blue


def test_counts_of_what_stays_fresh_are_those_of_the_new_classes() -> None:
    config, old = tiny_config(), shaken(tiny_config(), TagLayout(OLD))
    more = Vocabulary(
        (TagGroup("hair", ("red", "green", "blue", "grey")), OLD.groups[1], TagGroup("hat", ("no", "yes")))
    )
    new = build_system(config, more.sizes)
    report = load_initial(new, TagLayout(more), saved(old, TagLayout(OLD)))
    # Embeddings of 2 numbers: one hair colour, two hats; the first layer's inputs for the hat: 2 x (8 filters x 4 x 4).
    assert report["generator"].total - report["generator"].copied == 2 + 4 + 2 * 8 * 16
    # Heads on 4 channels of 4 x 4: one hair colour and two hats, each with its bias.
    assert report["discriminator"].total - report["discriminator"].copied == 3 * (4 * 16 + 1)
    assert report["generator"].fresh[0] == "tags.tables.0.weight (2 of 8)"
    assert "head.tags.2.bias (2 of 2)" in report["discriminator"].fresh


def test_networks_of_another_width_stay_fresh() -> None:
    tags = TagLayout(OLD)
    old, wide = shaken(tiny_config(), tags), tiny_config(discriminator__width=4)
    torch.manual_seed(5)
    plain = arrays(build_system(wide, OLD.sizes).discriminator)
    torch.manual_seed(5)
    new = build_system(wide, OLD.sizes)
    report = load_initial(new, tags, saved(old, tags))["discriminator"]
    assert 0 < report.copied < report.total  # biases of the heads fit
    assert np.array_equal(plain["trunk.0.weight"], arrays(new.discriminator)["trunk.0.weight"])


def test_without_a_discriminator_it_starts_fresh() -> None:
    tags = TagLayout(OLD)
    old = dataclasses.replace(saved(shaken(tiny_config(), tags), tags), discriminator=None)
    torch.manual_seed(5)
    new = build_system(tiny_config(), OLD.sizes)
    before = arrays(new.discriminator)
    report = load_initial(new, tags, old)
    assert report["discriminator"].copied == 0
    assert all(np.array_equal(before[name], value) for name, value in arrays(new.discriminator).items())


def test_structure_leaves_what_does_not_shape_the_networks() -> None:
    both = structural_params(tiny_config(), discriminator=True)
    assert {"system", "tags.encoding", "generator.noise_dim", "generator.norm", "discriminator.dropout"} <= both.keys()
    assert not {"generator.embedding_noise", "losses.penalty", "training.ema_decay"} & both.keys()
    alone = structural_params(tiny_config(), discriminator=False)
    assert alone == {name: value for name, value in both.items() if not name.startswith("discriminator.")}


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_trial_starts_from_the_weights_with_its_average(context: TrialContext, tmp_path: Path, decay: float) -> None:
    config, tags = tiny_config(training__ema_decay=decay), TagLayout(context.images.vocabulary)
    old = shaken(config, tags)
    initial = dataclasses.replace(saved(old, tags), source={"run": "first-00003"})
    # Ray's arrays cannot be written to.
    for value in initial.generator.values():
        value.flags.writeable = False
    started = dataclasses.replace(context, initial=initial)
    trial = Trial(started, config.to_params(), 7, Storage(str(tmp_path)))
    for network in (trial.loop.generator, trial.loop.average):
        assert all(np.array_equal(initial.generator[name], value) for name, value in arrays(network).items())
    assert all(
        np.array_equal(initial.discriminator[name], value)  # type: ignore[index]
        for name, value in arrays(trial.loop.discriminator).items()
    )
    assert b'"first-00003"' in (tmp_path / "config.json").read_bytes()
    trial.step()
    resumed = Trial(started, config.to_params(), 7, Storage(str(tmp_path)))
    assert resumed.load()
    trained = arrays(trial.loop.generator)
    assert all(np.array_equal(trained[name], value) for name, value in arrays(resumed.loop.generator).items())
    assert not np.array_equal(trained["body.0.0.weight"], initial.generator["body.0.0.weight"])
