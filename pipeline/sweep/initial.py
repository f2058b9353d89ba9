"""Fine-tuning: start the trials of a sweep from an exported generator (``--init-from``)."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

from pipeline.bundle.manifest import CONFIG, DISCRIMINATOR, MANIFEST, TAGS, WEIGHTS, read_json, write_manifest
from pipeline.setting_values import format_pair, parse_pairs
from search_spaces.registry import find_space
from trainables.config import coerce
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import atomic_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.home import Home
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.config import GanConfig
    from trainables.data.dataset import TaggedImages
    from trainables.trial.initial_weights import Copied, InitialWeights

FOLDER = "initial"
"""Folder of a sweep with its own copy of the weights, so that it continues with them whatever happens to the export."""
SHOWN = 6
"""Most tensors that are named."""


def fix_structure(settings: SweepSettings, home: Home) -> tuple[SweepSettings, InitialWeights | None]:
    """Read the export that a sweep starts from, and add what its weights decide to ``--fix``.

    Returns:
        The settings, unchanged if they were continued or if the sweep starts from random weights, and the weights.

    Raises:
        UsageError: an export of another system or kind of images, or options that contradict it.
        UserError: no export, or one that was changed.
    """
    if settings.init_from is None:
        return settings, None
    own = home.sweep(settings.name) / FOLDER
    initial = read_initial(own if own.is_dir() else settings.init_from)
    _require_same_images(settings, initial.config)
    space, given = find_space(settings.space), f"--init-from {settings.init_from}"
    systems = next((d.choices for d in space.dimensions if d.name == "system"), (space.recipe["system"],))
    if initial.config.system not in systems:
        raise UsageError(
            f"{given} is of system {initial.config.system!r}, and space {settings.space} trains "
            f"{', '.join(map(str, systems))}; search the space of its system, or give another export"
        )
    decided = _structure(initial)
    _require_no_contradiction(settings, decided)
    searched = {dimension.name for dimension in space.dimensions}
    asked = {name for name, _ in parse_pairs("fix", settings.fix)}
    added = [
        format_pair("fix", name, value)
        for name, value in decided.items()
        if name not in asked and (name in searched or space.recipe[name] != value)
    ]
    fixed = dataclasses.replace(settings, fix=(*settings.fix, *added))
    try:
        fixed.resolve_space()
    except UsageError as error:
        raise UsageError(f"{given} does not fit space {settings.space}: {error}") from error
    return fixed, initial


def read_initial(folder: Path) -> InitialWeights:
    """Read the weights of an export.

    Raises:
        UserError: no export, or one that was changed.
    """
    from safetensors.numpy import load_file

    from pipeline.bundle.bundle import Bundle
    from trainables.trial.initial_weights import InitialWeights, TagLayout

    bundle = Bundle.load(folder)
    files, path = bundle.manifest["files"], folder / DISCRIMINATOR
    source = {name: bundle.manifest.get(name) for name in ("sweep", "run", "kimg")}
    return InitialWeights(
        bundle.config,
        TagLayout(bundle.vocabulary, bundle.pairs, bundle.target_places),
        load_file(folder / WEIGHTS),
        load_file(path) if DISCRIMINATOR in files else None,
        {**source, "weights": files[WEIGHTS]},
    )


def keep_initial(settings: SweepSettings, folder: Path) -> None:
    """Copy the weights into the sweep's ``folder``, unless they are there."""
    if settings.init_from is None or (folder / FOLDER).is_dir():
        return
    with atomic_directory(folder / FOLDER) as partial:
        for name in (CONFIG, TAGS, WEIGHTS, DISCRIMINATOR):
            if (settings.init_from / name).is_file():
                shutil.copyfile(settings.init_from / name, partial / name)
        manifest = read_json(settings.init_from / MANIFEST)
        write_manifest(partial, {name: manifest.get(name) for name in ("sweep", "trial", "run", "kimg")})


def describe_initial(
    settings: SweepSettings, space: Space, initial: InitialWeights, images: TaggedImages
) -> Iterator[str]:
    """Yield lines for the user: where the weights are from, what they fix, and what of them fits the data's tags.

    Raises:
        UserError: classes that the networks of the export do not stand for.
    """
    from trainables.config import GanConfig
    from trainables.data.tags import combinations
    from trainables.systems.build import build_system
    from trainables.trial.initial_weights import TagLayout, load_initial

    config = GanConfig.from_params({**space.recipe, **images.shape_params})
    labels = combinations(images.labels[: images.complete])
    pairs = labels if config.tags.encoding == "pairs" else ()
    _require_same_directions(config, images, initial)
    system = build_system(config, images.vocabulary.sizes, images.target_places, pairs)
    report = load_initial(system, TagLayout(images.vocabulary, pairs, images.target_places), initial)
    source = initial.source
    whence = f" (sweep {source['sweep']}, {source['run']}, {source['kimg']} kimg)" if source.get("run") else ""
    yield f"starts from {settings.init_from}{whence}"
    searched = {dimension.name for dimension in find_space(settings.space).dimensions}
    fixed = [f"{name}={value}" for name, value in _structure(initial).items() if name in searched]
    yield f"fixed by it: {', '.join(fixed) or 'nothing that the space varies'}"
    yield "; ".join(f"{part}: {copied.copied:,} of {copied.total:,} parameters" for part, copied in report.items())
    if initial.discriminator is None:
        yield "the export has no discriminator, which starts fresh: after `gansweep confirm` or `clean`, none has"
    elif fresh := list(_fresh(report)):
        more = f" and {len(fresh) - SHOWN} more" if len(fresh) > SHOWN else ""
        yield f"start fresh: {', '.join(fresh[:SHOWN])}{more}"


def _fresh(report: dict[str, Copied]) -> Iterator[str]:
    for part, copied in report.items():
        yield from (f"{part}.{name}" for name in copied.fresh)


def _structure(initial: InitialWeights) -> dict[str, Any]:
    from trainables.trial.initial_weights import structural_params

    return structural_params(initial.config, discriminator=initial.discriminator is not None)


def _require_same_images(settings: SweepSettings, config: GanConfig) -> None:
    for name in ("image_size", "channels"):
        mine, own = getattr(settings, name), getattr(config, name)
        if mine != own:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"--init-from {settings.init_from} is of {name.replace('_', ' ')} {own} and {option} is {mine}; use "
                f"{option} {own}, or give another export"
            )


def _require_no_contradiction(settings: SweepSettings, decided: dict[str, Any]) -> None:
    for option in ("fix", "set", "range", "choices"):
        for name, text in parse_pairs(option, getattr(settings, option)):
            if name not in decided or (option in ("fix", "set") and coerce(name, text) == decided[name]):
                continue
            raise UsageError(
                f"--{option} {name}={text}: the weights of --init-from {settings.init_from} have {name} "
                f"{decided[name]!r}; leave the option out"
            )


def _require_same_directions(config: GanConfig, images: TaggedImages, initial: InitialWeights) -> None:
    """Refuse other domains for cyclegan, whose two networks stand for two classes."""
    if config.system != "cyclegan":
        return
    groups = images.vocabulary.groups
    new = groups[(images.target_places or (0,))[0]].classes
    old = initial.tags.vocabulary.groups[initial.tags.used[0]].classes
    if new != old:
        raise UserError(
            f"the export translates between {' and '.join(old)} and the data between {' and '.join(new)}; give the "
            "same two classes in the same order, or leave --init-from out"
        )
