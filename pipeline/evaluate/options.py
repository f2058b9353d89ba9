"""Options of `score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.evaluate.evaluate import ScoreRequest


@dataclass(frozen=True)
class ScoreOptions:
    """Compare a folder of generated images with a folder of real ones; needs no sweep."""

    real: Path
    """Folder of real images."""
    fake: Path
    """Folder of generated images."""
    extractor: str = "efficientnet"
    """Feature network: efficientnet (works offline), efficientnet-128, efficientnet-224, inception (standard FID),
    dinov2 (FD-DINOv2), dinov2-base, focus (a ViT-S/14, extra of that name) or an ONNX file (input: float32 RGB images
    (n, 3, h, w) in [0, 255], any n; output: float32 features (n, d))."""
    weights: Path | None = None
    """Weights file of the extractor; default: its own."""
    resize: str | None = None
    """How inception's images are resized: tf1 (the original FID), pytorch (pytorch-fid) or clean (clean-fid)."""
    precision: str = "float32"
    """Arithmetic of the extractor: float32, or bf16 (faster; another score)."""
    image_size: int | None = None
    """Resize the centre square of every image of both folders to this side in pixels first; default: no resize but that
    of the extractor."""
    tags: bool = False
    """Also score tags: both folders need a tag file; that of --fake holds the requested tags."""
    confusions: Path | None = None
    """With --tags: write the confusion matrices to this .png file."""
    cascade: Path | None = None
    """OpenCV cascade file: also report the share of images in which it detects a face."""
    fid_infinity: bool = False
    """Also extrapolate the distance to infinitely many images."""
    samples: int | None = None
    """Number of generated images to score, chosen by --seed; default: all."""
    seed: int = 0
    """Seed of all random choices in the scores."""
    home: Path | None = None
    """Folder whose cache holds real features and the tag classifier; default: $GANSWEEP_HOME or ./gansweep-runs, if it
    exists."""
    json: bool = False
    """Print one JSON object."""

    def request(self) -> ScoreRequest:
        """Return what ``score_folders`` takes."""
        from pipeline.evaluate.evaluate import ScoreRequest
        from trainables.scoring.extractors.registry import ExtractorChoice

        return ScoreRequest(
            real=self.real,
            fake=self.fake,
            extractor=ExtractorChoice(self.extractor, self.weights, self.resize, self.precision),
            image_size=self.image_size,
            tags=self.tags,
            confusions=self.confusions,
            cascade=self.cascade,
            infinity=self.fid_infinity,
            samples=self.samples,
            seed=self.seed,
            home=self.home,
        )
