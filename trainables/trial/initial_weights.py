"""Weights of an earlier generator and discriminator that training starts from (fine-tuning).

Tensors are copied where name and shape agree. Where the tag vocabulary differs, what belongs to a class is copied by
the names of its group and class, never by position; what is new keeps its random start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trainables.data.tags import Vocabulary  # noqa: TC001 - a field of a dataclass that is sent to workers
from trainables.systems.build import build_system

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs
    from trainables.systems.system import System

    State = Mapping[str, NDArray[np.generic]]

FREE = ("generator.embedding_noise", "generator.norm_momentum", "discriminator.norm_momentum")
"""Parameters of the networks that may vary although their weights are given."""
_OF_GROUP = re.compile(r"((?:^|\.)tags\.(?:tables\.)?)(\d+)(?=\.)")
"""Names of tensors that belong to one tag group: tables of embeddings and heads that classify."""


@dataclass(frozen=True)
class TagLayout:
    """What networks know of the tags: vocabulary, known combinations, and the groups that a translation changes."""

    vocabulary: Vocabulary
    pairs: Pairs = ()
    targets: tuple[int, ...] = ()

    @property
    def used(self) -> tuple[int, ...]:
        """Indices of the groups that networks read."""
        return self.targets or tuple(range(len(self.vocabulary.groups)))


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """Weights to start from, as arrays, which Ray shares between the processes of a node."""

    config: GanConfig
    """Configuration of the networks."""
    tags: TagLayout
    generator: State
    discriminator: State | None
    """``None``: the discriminator starts fresh."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where they are from, for the trial's configuration file."""


@dataclass(frozen=True)
class Copied:
    """How much of a network was copied: numbers of its parameters, and the tensors of which some stayed fresh."""

    copied: int
    total: int
    fresh: tuple[str, ...]


def structural_params(config: GanConfig, *, discriminator: bool) -> dict[str, Any]:
    """Return the parameters that given weights decide; those of the discriminator only if its weights are given."""
    sections = ("generator.", "discriminator.") if discriminator else ("generator.",)
    params = config.to_params()
    names = [name for name in params if name.startswith(sections) and name not in FREE]
    return {name: params[name] for name in ("system", "tags.encoding", *names)}


@torch.no_grad()
def load_initial(system: System, tags: TagLayout, initial: InitialWeights) -> dict[str, Copied]:
    """Copy the weights that fit into untrained networks, and report by network what was copied."""
    parts = {"generator": initial.generator, "discriminator": initial.discriminator}
    axes: dict[str, dict[str, list[int]]] = {}
    if (tags.vocabulary, tags.pairs, tags.used) != (initial.tags.vocabulary, initial.tags.pairs, initial.tags.used):
        axes = _code_axes(system, tags)
    report = {}
    for part, saved in parts.items():
        network: nn.Module = getattr(system, part)
        if saved is None:
            total = sum(parameter.numel() for parameter in network.parameters())
            report[part] = Copied(0, total, ("all of it",))
        else:
            names = _TagNames(system.config, part, tags), _TagNames(initial.config, part, initial.tags)
            report[part] = _copy(network, saved, axes.get(part), *names)
    return report


class _TagNames:
    """Names of the places along the axes of a network's tensors that belong to tags."""

    def __init__(self, config: GanConfig, part: str, tags: TagLayout) -> None:
        self.groups = [tags.vocabulary.groups[place] for place in tags.used]
        self.first = part == "generator" and not config.translates
        """Whether tags come before the other inputs of a layer, or after."""
        if part == "generator" and config.generator.conditioning == "embedding":
            dims = range(config.generator.embedding_dim)
            self.code: list[Hashable] = [(group.name, dim) for group in self.groups for dim in dims]
        else:
            self.code = self._columns(config.tags.encoding, tags)

    def _columns(self, encoding: str, tags: TagLayout) -> list[Hashable]:
        """Name the columns of ``TagEncoder``'s code."""
        if encoding == "pairs":
            classes = [group.classes for group in tags.vocabulary.groups]
            named = [[names[label] for names, label in zip(classes, pair, strict=True)] for pair in tags.pairs]
            return [frozenset(zip(tags.vocabulary.names, pair, strict=True)) for pair in named]
        columns: list[Hashable] = []
        for group in self.groups:
            columns += [(group.name, name) for name in group.classes]
            columns += [(group.name, None)] if encoding == "one_hot_none" else []
        return [*columns, None] if encoding == "one_hot_unknown" else columns

    def of_code(self, size: int) -> list[Hashable]:
        """Name the places of an axis of ``size`` that holds the code and other inputs."""
        others: list[Hashable] = list(range(size - len(self.code)))
        return [*self.code, *others] if self.first else [*others, *self.code]

    def of_group(self, index: int) -> list[Hashable]:
        """Name the rows of a tensor of the group at ``index``."""
        return list(self.groups[index].classes)


def _copy(
    network: nn.Module, saved: State, axes: Mapping[str, list[int]] | None, new: _TagNames, old: _TagNames
) -> Copied:
    """Copy into every tensor; ``axes`` are those that hold the code, ``None`` where the tags are the same."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    copied, total, fresh = 0, 0, []
    for name, target in network.state_dict().items():
        count = _copy_tensor(name, target, saved, axes, new, old)
        if name in trained:
            total, copied = total + target.numel(), copied + count
            if count < target.numel():
                fresh.append(f"{name} ({target.numel() - count} of {target.numel()})")
    return Copied(copied, total, tuple(fresh))


def _copy_tensor(
    name: str, target: Tensor, saved: State, axes: Mapping[str, list[int]] | None, new: _TagNames, old: _TagNames
) -> int:
    """Copy what belongs together, and return how many numbers that is."""
    places: dict[int, tuple[list[Hashable], list[Hashable]]] = {}
    source_name, match = name, _OF_GROUP.search(name)
    if axes is not None and match:
        group = new.groups[int(match[2])]
        index = next((at for at, one in enumerate(old.groups) if one.name == group.name), None)
        if index is None:
            return 0
        source_name = f"{name[: match.start(2)]}{index}{name[match.end(2) :]}"
        places[0] = new.of_group(int(match[2])), old.of_group(index)
    if source_name not in saved:
        return 0
    source = torch.from_numpy(saved[source_name].copy())  # Ray's arrays cannot be written to, which torch warns of
    for axis in (axes or {}).get(name, ()) if source.dim() == target.dim() else ():
        if target.shape[axis] - len(new.code) != source.shape[axis] - len(old.code):
            return 0  # its other inputs differ, too
        places[axis] = new.of_code(target.shape[axis]), old.of_code(source.shape[axis])
    if not places:
        if source.shape != target.shape:
            return 0
        target.copy_(source)
        return target.numel()
    return _copy_named(target, source, places)


def _copy_named(
    target: Tensor, source: Tensor, places: Mapping[int, tuple[Sequence[Hashable], Sequence[Hashable]]]
) -> int:
    """Copy the places that both have along the named axes; all other axes must be of one size."""
    into: list[Tensor] = []
    out_of: list[Tensor] = []
    for axis in range(target.dim()):
        new, old = places.get(axis, (range(target.shape[axis]), range(source.shape[axis])))
        if (len(new), len(old)) != (target.shape[axis], source.shape[axis]) or (axis not in places and new != old):
            return 0
        at = {one: place for place, one in enumerate(old)}
        shared = [(place, at[one]) for place, one in enumerate(new) if one in at]
        shape = [-1 if other == axis else 1 for other in range(target.dim())]
        into.append(torch.tensor([pair[0] for pair in shared], dtype=torch.long).view(shape))
        out_of.append(torch.tensor([pair[1] for pair in shared], dtype=torch.long).view(shape))
    values = source[tuple(out_of)].to(target.dtype)
    target[tuple(into)] = values
    return values.numel()


def _code_axes(system: System, tags: TagLayout) -> dict[str, dict[str, list[int]]]:
    """Find the axes that hold the tag code: those that grow with one tag group and one combination more."""
    config, sizes = system.config, tags.vocabulary.sizes
    if config.system == "cyclegan":  # its networks stand for the classes
        return {}
    pairs = (*((*pair, 0) for pair in tags.pairs), (0,) * (len(sizes) + 1))
    targets = (*tags.targets, len(sizes)) if tags.targets else ()
    with torch.device("meta"):
        wider = build_system(config, (*sizes, 2), targets, pairs)
    found: dict[str, dict[str, list[int]]] = {}
    for part in ("generator", "discriminator"):
        shapes = {name: tensor.shape for name, tensor in getattr(wider, part).state_dict().items()}
        found[part] = {
            name: [axis for axis, size in enumerate(tensor.shape) if shapes[name][axis] != size]
            for name, tensor in getattr(system, part).state_dict().items()
        }
    return found
