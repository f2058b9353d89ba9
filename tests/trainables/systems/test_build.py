"""The system that a configuration describes."""

import pytest

from tests.support.tiny import tiny_config, tiny_translator
from trainables.systems.build import build_generator, build_system
from trainables.systems.conditional import ConditionalGan
from trainables.systems.cyclegan import CycleGan
from trainables.systems.stargan import StarGan


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        (tiny_translator("stargan"), StarGan),
        (tiny_translator("cyclegan"), CycleGan),
    ],
)
def test_a_configuration_builds_its_system_and_the_same_generator_alone(params, kind) -> None:
    system, alone = (made(params, (2,)) for made in (build_system, build_generator))
    assert type(system) is kind
    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (system.generator, alone)]
    assert shapes[0] == shapes[1]
    assert system.generator.translates


def test_no_targets_are_all_of_them() -> None:
    config = tiny_translator("stargan")
    assert build_system(config, (3, 2)).generator.encode.sizes == (3, 2)
    assert build_system(config, (3, 2), (1,)).generator.encode.sizes == (2,)


def test_other_systems_draw() -> None:
    assert type(build_system(tiny_config(), (3, 2))) is ConditionalGan
    assert not build_generator(tiny_config(), (3, 2)).translates
