"""Which part of a data folder is trained on, and which of its tags a translation changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.layouts.folders import DOMAIN
from trainables.data.tag_files.readers import FAULTS, TagRow
from trainables.data.tags import UNKNOWN, TagGroup, Vocabulary, is_name
from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainables.data.folder import DataFolder

    Wanted = Mapping[int, int]

_EXAMPLE: Final = '--domain-a "colour=red" --domain-b "colour=blue"'


@dataclass(frozen=True)
class Selection:
    """Nothing, two domains, or attributes.

    ``domain_a`` and ``domain_b`` are two selections of tags such as ``hair=black`` or ``hair=black,eyes=red`` (both):
    images of exactly one are kept, under a first tag group ``domain`` with a class for either; groups that neither
    mentions stay. ``attributes``, such as ``Male,Young``, are names of an attribute list, of which no others are used;
    or tag groups, which are then the ones to change.

    Raises:
        UsageError: one domain without the other, domains together with attributes, or an empty or repeated name.
    """

    domain_a: str | None = None
    domain_b: str | None = None
    attributes: str | None = None

    def __post_init__(self) -> None:
        for one, other in (("a", "b"), ("b", "a")):
            if getattr(self, f"domain_{one}") is not None and getattr(self, f"domain_{other}") is None:
                raise UsageError(f"--domain-{one} is given without --domain-{other}; for instance {_EXAMPLE}")
        if self.domain_a is not None and self.attributes is not None:
            raise UsageError(
                "--attributes and --domain-a are both given; attributes translate to every class of each, domains "
                "between two selections: leave one out"
            )
        for name in ("domain_a", "domain_b"):
            self._terms(name)
        names = [name.lower() for name in self._names()]
        if self.attributes is not None and (not all(names) or len(set(names)) != len(names)):
            raise UsageError(f"--attributes is {self.attributes!r}; expected different names with commas between them")

    def apply(self, found: DataFolder) -> tuple[DataFolder, tuple[str, ...]]:
        """The part of the folder that is selected, and the names of the groups that a translation changes.

        Raises:
            UsageError: an unknown group, class or attribute, a selection that no image or every image of the
                other fits.
        """
        if self.attributes is not None:
            return self._choose(found)
        if self.domain_a is not None:
            return self._divide(found), (DOMAIN,)
        return (_narrowed(found, found.usual) if found.usual else found), ()

    def _names(self) -> list[str]:
        return [name.strip() for name in (self.attributes or "").split(",")]

    def _terms(self, option: str) -> list[tuple[str, str]]:
        """``hair=black,eyes=red`` -> ``[("hair", "black"), ("eyes", "red")]``."""
        text = getattr(self, option)
        terms = [term.partition("=") for term in ([] if text is None else text.split(","))]
        if any(not (group.strip() and name.strip()) for group, _, name in terms):
            raise UsageError(f"{_option(option)} is {text!r}; expected GROUP=CLASS, for instance {_EXAMPLE}")
        return [(group.strip().lower(), name.strip()) for group, _, name in terms]

    def _choose(self, found: DataFolder) -> tuple[DataFolder, tuple[str, ...]]:
        known = found.attributes or found.vocabulary.names
        by_name = {name.lower(): place for place, name in enumerate(known)}
        places = []
        for name in self._names():
            if name.lower() not in by_name:
                what = "attribute" if found.attributes else "tag group"
                raise UsageError(
                    f"--attributes: unknown {what} {name!r} of {found.path}; there are: "
                    f"{', '.join(known)}{nearest(name, known)}"
                )
            places.append(by_name[name.lower()])
        targets = tuple(found.vocabulary.names[place] for place in places)
        return (_narrowed(found, places) if found.attributes else found), targets

    def _divide(self, found: DataFolder) -> DataFolder:
        wanted = [self._wanted(option, found.vocabulary) for option in ("domain_a", "domain_b")]
        fitting = [
            {name for name, row in found.tags.items() if all(row.labels[place] == one[place] for place in one)}
            for one in wanted
        ]
        for option, mine, others in zip(("domain_a", "domain_b"), fitting, fitting[::-1], strict=True):
            if not mine & found.images.keys():
                why = f"fits no image of {found.path}"
            elif not (mine - others) & found.images.keys():
                why = "selects only images that the other domain selects too"
            else:
                continue
            look = f"`gansweep data inspect {found.path}` counts every tag"
            raise UsageError(f"{_option(option)} {getattr(self, option)!r} {why}; {look}")
        domains = {name: int(name in fitting[1]) for name in found.tags if (name in fitting[0]) != (name in fitting[1])}
        return _tagged_by_domain(found, wanted, domains)

    def _wanted(self, option: str, vocabulary: Vocabulary) -> dict[int, int]:
        """Class index that each mentioned group must have."""
        wanted: dict[int, int] = {}
        for group, name in self._terms(option):
            try:
                place, label = vocabulary.index(group), vocabulary.class_index(group, name)
            except UsageError as error:
                raise UsageError(f"{_option(option)}: {error}") from error
            if wanted.setdefault(place, label) != label:
                raise UsageError(f"{_option(option)} names {group} twice; an image has one class of each group")
        return wanted


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _narrowed(found: DataFolder, places: Sequence[int]) -> DataFolder:
    """The folder with some of its tag groups; what is wrong with tags of the others does not matter."""
    kept = {found.vocabulary.names[place] for place in places}
    faults = {f"{kind} {name}" for name in found.vocabulary.names if name not in kept for kind in FAULTS}
    return dataclasses.replace(
        found,
        vocabulary=Vocabulary(tuple(found.vocabulary.groups[place] for place in places)),
        tags={name: TagRow(name, tuple(row.labels[place] for place in places)) for name, row in found.tags.items()},
        attributes=tuple(found.attributes[place] for place in places),
        defects=tuple(defect for defect in found.defects if defect.kind not in faults),
        usual=(),
    )


def _tagged_by_domain(found: DataFolder, wanted: Sequence[Wanted], domains: Mapping[str, int]) -> DataFolder:
    """The images that have a domain, tagged with it and the groups that no selection mentions."""
    kept = [place for place in range(len(found.vocabulary.groups)) if not any(place in one for one in wanted)]
    if DOMAIN in (found.vocabulary.names[place] for place in kept):
        raise UsageError(
            f"--domain-a and --domain-b make a tag group {DOMAIN!r}, and {found.path} has one of that name; select by "
            f"it (--domain-a {DOMAIN}=...), or rename it"
        )
    groups = (_domain_group(found.vocabulary, wanted), *(found.vocabulary.groups[place] for place in kept))
    return dataclasses.replace(
        found,
        vocabulary=Vocabulary(groups),
        images={name: path for name, path in found.images.items() if name in domains},
        tags={
            name: TagRow(name, (domain, *(found.tags[name].labels[place] for place in kept)))
            for name, domain in domains.items()
        },
        attributes=(),
    )


def _domain_group(vocabulary: Vocabulary, wanted: Sequence[Wanted]) -> TagGroup:
    """Named after the selections, unless that is too long for a name."""
    unknown = (UNKNOWN,) * len(vocabulary.groups)
    texts = [vocabulary.describe([one.get(place, label) for place, label in enumerate(unknown)]) for one in wanted]
    return TagGroup(DOMAIN, tuple(texts) if all(map(is_name, texts)) else ("a", "b"))
