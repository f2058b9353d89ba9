"""Which data a space can translate, and which options mean nothing to one that draws from noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.settings import SweepSettings
from pipeline.sweep.data_checks import (
    describe_images,
    require_selection,
    require_targets,
    scarce_domain,
    single_classes,
    too_few_images,
    translation_warnings,
    unused_classes,
)
from search_spaces.registry import find_space
from search_spaces.space import Space
from tests.support.tiny import PAIR, painted_images, random_labels
from trainables.config import TRANSLATING
from trainables.data.defects import Defect
from trainables.data.selection import Selection
from trainables.data.tags import TagGroup, Vocabulary
from trainables.errors import UsageError, UserError
from trainables.scoring.translation_task import TranslationTask

CYCLEGAN, STARGAN = (
    Space(name, "", {"system": name, "losses.labels": "hard", **parts}, ()) for name, parts in TRANSLATING.items()
)
ACGAN, WGAN_GP = find_space("acgan"), find_space("wgan_gp")
DOMAINS = Vocabulary((TagGroup("domain", ("a", "b")), TagGroup("eyes", ("dark", "light", "none"))))
SELECTED = Selection("hair=black", "hair=blonde")


def images(counts: tuple[int, int] = (20, 20), targets: tuple[str, ...] = ("domain",)):
    labels = np.stack([np.repeat([0, 1], counts), np.arange(sum(counts)) % 3], axis=1)
    return dataclasses.replace(painted_images(labels, DOMAINS), targets=targets)


@pytest.mark.parametrize("space", [CYCLEGAN, STARGAN])
def test_two_domains_can_be_translated(space: Space) -> None:
    require_selection(space, SELECTED)
    require_targets(space, images((16, 30)))
    with pytest.raises(UserError, match="15 images"):
        require_targets(space, images((15, 30)))


def test_several_groups_of_many_classes_are_for_stargan() -> None:
    images = painted_images(random_labels(40), PAIR)
    require_targets(STARGAN, images)
    require_targets(STARGAN, dataclasses.replace(images, targets=("hair",)))
    with pytest.raises(
        UsageError, match=r"cyclegan translates .*hair \(3 classes\) and eyes \(2 classes\) .*--domain-a"
    ):
        require_targets(CYCLEGAN, images)
    with pytest.raises(UsageError, match=r"the data has hair \(3 classes\) to translate; .*subfolders A and B"):
        require_targets(CYCLEGAN, dataclasses.replace(images, targets=("hair",)))
    require_targets(CYCLEGAN, dataclasses.replace(images, targets=("eyes",)))


def test_a_domain_of_few_images_is_refused() -> None:
    for space in (CYCLEGAN, STARGAN):
        with pytest.raises(UserError, match=r"15 images of b domain with every tag are too few .*16 are needed"):
            require_targets(space, images((40, 15)))


def test_too_few_images_are_refused_and_empty_classes_named() -> None:
    assert too_few_images(images((8, 8))) is None
    assert "15 images with every tag are too few" in str(too_few_images(images((8, 7))))
    assert "8 images of a domain with every tag" in str(scarce_domain(images((8, 8))))
    assert scarce_domain(images((16, 16))) is None
    assert unused_classes(images((8, 8))) == []
    assert unused_classes(images((8, 0))) == ["b domain"]
    partly = dataclasses.replace(images((8, 1)), complete=8)  # the only image of b lacks another tag
    assert unused_classes(partly) == ["b domain"]


def test_a_sweep_says_what_its_images_are() -> None:
    partly = dataclasses.replace(
        images((8, 1)), complete=8, defects=(Defect("corrupt", "[red]x.png", "cut"), *[Defect("empty", "a")] * 4)
    )
    assert describe_images(partly) == [
        "9 images, 8 with every tag; domain (2 classes), eyes (3 classes)",
        "1 corrupt: [red]x.png (cut)",
        "4 empty: a, a, a, ...",
        "1 classes without an image with every tag are not learnt: b domain",
    ]


@pytest.mark.parametrize("space", [ACGAN, WGAN_GP])
def test_systems_that_draw_from_noise_have_no_domains(space: Space) -> None:
    with pytest.raises(UsageError, match=f"--domain-a and --domain-b .*{space.name} "):
        require_selection(space, SELECTED)
    with pytest.raises(UsageError, match=f"--attributes eyes names tags to change, and {space.name} "):
        require_targets(space, images(targets=("eyes",)))


@pytest.mark.parametrize("space", [ACGAN, WGAN_GP])
def test_folders_a_and_b_and_attribute_lists_are_tags_like_others(space: Space) -> None:
    require_selection(space, Selection(attributes="Male,Young"))
    require_targets(space, images(targets=("domain", "eyes")))
    require_targets(space, images(targets=()))
    with pytest.raises(UsageError, match="--attributes domain "):  # a part of them means that they are to be changed
        require_targets(space, images(targets=("domain",)))


def test_excluded_scores_are_reported() -> None:
    labels = np.stack([np.repeat([0, 1, 2], [20, 50, 15]), np.arange(85) % 2], axis=1)
    images = dataclasses.replace(painted_images(labels, PAIR), targets=("hair",))
    features = np.random.default_rng(0).normal(size=(85, 3)).astype(np.float32)
    # To green go the 35 others; red begins, so that it has one more of its 65.
    left, fewer = translation_warnings(TranslationTask.of(images, features, 200, 0), 200)
    assert left.startswith("no translation to blue is scored: 16 images of a class")
    assert fewer.startswith("scores translate 71 images instead of 200")
    assert translation_warnings(TranslationTask.of(images, features, 60, 0), 60) == [left]
    two = dataclasses.replace(images, targets=("eyes",))
    assert translation_warnings(TranslationTask.of(two, features, 60, 0), 60) == []


def test_the_settings_carry_the_selection(tmp_path) -> None:
    chosen = SweepSettings("stargan", tmp_path, "s", domain_a="hair=black", domain_b="hair=blonde")
    assert chosen.selection() == SELECTED
    assert SweepSettings.from_json(chosen.to_json()) == chosen
    older = {name: value for name, value in chosen.to_json().items() if name not in ("domain_a", "domain_b")}
    assert SweepSettings.from_json(older).selection() == Selection()
    with pytest.raises(UsageError, match="--domain-a is given without --domain-b"):
        SweepSettings("stargan", tmp_path, "s", domain_a="hair=black")
    with pytest.raises(UserError, match="attributes is 3"):
        SweepSettings.from_json({**chosen.to_json(), "attributes": 3})


def test_images_of_one_class_alone_are_refused() -> None:
    alike = images((20, 0))
    alike.labels[:] = alike.labels[0]
    said = single_classes(alike)
    assert said is not None
    assert said.startswith(f"all 20 images with every tag are {alike.vocabulary.describe(alike.labels[0].tolist())}, ")
    alike.labels[3, 0] = 1 - alike.labels[3, 0]
    assert single_classes(alike) is None
