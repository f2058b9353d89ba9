"""Parse the tags that people ask an export for. Shipped with served models: imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from pipeline.bundle.bundle import Bundle


def require_tags(bundle: Bundle, request: object) -> None:
    """Check that tags are given to a generator that takes tags, and only to such a one.

    Raises:
        UsageError: tags are missing, or the generator takes none.
    """
    if bundle.config.conditional and request is None:
        raise UsageError(
            f'no tags; give them, for instance "{bundle.vocabulary.example()}", or --prompts FILE, or --panel NAME'
        )
    if not bundle.config.conditional and request is not None:
        raise UsageError(
            f"tags {str(request)!r} mean nothing to this {bundle.config.system} generator, which takes none; "
            "leave them out"
        )


def drawing_labels(bundle: Bundle, text: str | None) -> tuple[int, ...]:
    """Parse tags to draw: a class index per group, ``UNKNOWN`` for groups that the text does not name.

    Raises:
        UsageError: unknown tags, or as ``require_tags``.
    """
    require_tags(bundle, text)
    return (UNKNOWN,) * len(bundle.vocabulary.groups) if text is None else bundle.vocabulary.parse(text)


def translation_labels(bundle: Bundle, to: str | None, option: str = "--to") -> tuple[int, ...]:
    """Parse tags to translate to: a class index per target group, ``UNKNOWN`` for the other groups.

    Args:
        bundle: an export that translates.
        to: the class of each target group; of a single group its bare name will do.
        option: what error messages call ``to``.

    Raises:
        UsageError: no tags, unknown tags, tags of a group that is not a target, or a target group without a tag.
    """
    vocabulary, targets = bundle.vocabulary, bundle.targets
    groups = {name: vocabulary.groups[vocabulary.index(name)].classes for name in targets}
    allowed = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in groups.items())
    example = " ".join(f"{classes[-1]} {name}" for name, classes in groups.items())
    if to is None:
        raise UsageError(f'no tags to translate to; give for instance {option} "{example}", of {allowed}')
    labels = dict(zip(targets, _parse_targets(bundle, to, option, allowed), strict=True))
    for name, label in labels.items():
        if label == UNKNOWN:
            raise UsageError(f"{option} {to!r} names no class of {name}; name a class of each group: {allowed}")
    return tuple(labels.get(name, UNKNOWN) for name in vocabulary.names)


def _parse_targets(bundle: Bundle, to: str, option: str, allowed: str) -> tuple[int, ...]:
    """A class index of each target, ``UNKNOWN`` of those that the text does not name."""
    groups = tuple(bundle.vocabulary.groups[place] for place in bundle.target_places)
    bare = " ".join(to.lower().split())
    if len(groups) == 1 and bare in groups[0].classes:
        return (groups[0].classes.index(bare),)
    try:
        return Vocabulary(groups).parse(to)
    except UsageError as error:
        named = _named_groups(bundle.vocabulary, to)
        if other := next((name for name in named if name not in bundle.targets), None):
            problem = f"{option} {to!r}: this generator does not change {other}"
            raise UsageError(f"{problem}; it goes to {allowed}") from error
        hint = f"this generator goes to {allowed}"
        near = nearest(bare, [name for group in groups for name in group.classes])
        if not named:
            raise UsageError(f"{option} {to!r} cannot be read; {hint}{near}") from error
        raise UsageError(f"{option}: {error}; {hint}{near}") from error


def _named_groups(vocabulary: Vocabulary, text: str) -> list[str]:
    """The groups that a text names, or none if it cannot be read."""
    try:
        return [noun for noun, _ in vocabulary.phrases(text)]
    except UsageError:
        return []
