"""Scores of one generator, and the fingerprint that decides which scores are comparable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.scoring.tag_classifier.tag_accuracy import TagReport


SAMPLING_POLICY = "noise and tags fixed per sweep"


TRANSLATION_POLICY = "sources and tags fixed per sweep"
"""Seed policies. Scores of images drawn from noise are not comparable with scores of translated images."""


@dataclass(frozen=True)
class Fingerprint:
    """Everything that must be equal for two distances or accuracies to be comparable."""

    extractor: str
    score: str
    weights: str
    resize: str
    precision: str
    samples: int
    reference: int
    image_size: int
    data: str
    tag_classifier: str
    seed_policy: str = SAMPLING_POLICY
    cascade: str | None = None

    def to_json(self) -> dict[str, str | int]:
        """A plain dict; without ``cascade`` if face detection is off."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        # Fingerprints of existing sweeps have the tag classifier under this key.
        return {"judge" if name == "tag_classifier" else name: value for name, value in plain.items()}


@dataclass(frozen=True)
class Scores:
    """Scores of ``samples`` images by name, with 95 % intervals if all samples were scored.

    ``distance`` is also present under its full name. Undefined scores are missing.
    """

    samples: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    tags: TagReport | None = None

    def metrics(self) -> dict[str, float]:
        """Flatten them for logging: ``interval/<name>/low`` and ``/high``, ``class_accuracy/<group>/<class>``."""
        ends = {
            f"interval/{name}/{end}": value
            for name, pair in self.intervals.items()
            for end, value in zip(("low", "high"), pair, strict=True)
        }
        classes = {
            f"class_accuracy/{one.group.name}/{label}": share
            for one in (self.tags.groups if self.tags and self.intervals else ())
            for label, share in one.per_class.items()
            if share is not None
        }
        return {"samples": self.samples, **self.values, **ends, **classes}
