"""The parts of a model card that differ for a translating generator; their code runs inside the export's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.export.model_card_usage import image_words

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL = """\
```sh
gansweep translate . images/ --to "{text}" -o translated
```"""

_GANSWEEP = """\
```python
from pathlib import Path

import numpy as np

from gansweep import Bundle
from trainables.data.images import load_image

bundle = Bundle.load(Path("."))  # Bundle.load(Path("."), "onnx") needs no torch
pixels = load_image(Path("image.jpg"), {size}, bundle.fit, bundle.config.channels)[None]  # uint8
translated = bundle.translate(pixels, np.array([{row}]))  # {text}
```"""

_ONNX = """\
```python
import numpy as np
import onnxruntime
from PIL import Image

image = Image.open("image.jpg").convert("{mode}").resize(({size}, {size}))  # {square}
pixels = np.asarray(image, np.float32).reshape({size}, {size}, {channels})
sources = (pixels / 127.5 - 1).transpose(2, 0, 1)[None]
session = onnxruntime.InferenceSession("generator.onnx")
(images,) = session.run(None, {{"sources": sources, "tags": np.array([{row}])}})  # {text}
pixels = np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
Image.fromarray({first}).save("translated.png")
```"""

_PROGRAM = """\
```python
import torch

generator = torch.export.load("generator.pt2").module()
images = generator(torch.rand(16, {channels}, {size}, {size}) * 2 - 1, torch.tensor([{row}] * 16))  # {kind} in [-1, 1]
```"""

_JAVASCRIPT = """\
```js
import * as ort from "onnxruntime-web";

const size = {size}, plane = size * size, canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
const source = await createImageBitmap(await (await fetch("image.jpg")).blob());
canvas.width = canvas.height = size;
pen.fillStyle = "white"; // under what is transparent
pen.fillRect(0, 0, size, size);
{draw}
const image = pen.getImageData(0, 0, size, size), levels = new Float32Array({channels} * plane);
{read}
const sources = new ort.Tensor("float32", levels, [1, {channels}, size, size]);
const tags = new ort.Tensor("int64", BigInt64Array.of({row_js}), [1, {groups}]); // {text}
const session = await ort.InferenceSession.create("generator.onnx");
const {{ pictures }} = await session.run({{ sources, tags }}); // the name of the output
for (let i = 0; i < plane; i++) {{
  for (let c = 0; c < 3; c++) image.data[4 * i + c] = (pictures.data[{place}] + 1) * 127.5; // cuts and rounds
}}
pen.putImageData(image, 0, 0);
```"""

_SERVED = """\
```python
import base64
import json
import urllib.request

image = base64.b64encode(open("image.jpg", "rb").read()).decode()  # of any size
body = json.dumps({{"dataframe_records": [{{"picture": image, "to": "{text}"}}]}}).encode()
asked = urllib.request.Request("http://127.0.0.1:5001/invocations", body, {{"content-type": "application/json"}})
(answer,) = json.load(urllib.request.urlopen(asked))["predictions"]
open("translated.png", "wb").write(base64.b64decode(answer["png"]))
```"""


_SQUARE = {
    "crop": "a square one, or its centre",
    "pad": "a square one, or padded with white",
    "stretch": "stretched to a square",
}
_DRAW_SIDE = """\
const side = Math.{chosen}(source.width, source.height);
pen.drawImage(source, (source.width - side) / 2, (source.height - side) / 2, side, side, 0, 0, size, size);"""
_DRAW = {
    "crop": _DRAW_SIDE.format(chosen="min"),
    "pad": _DRAW_SIDE.format(chosen="max"),
    "stretch": "pen.drawImage(source, 0, 0, size, size);",
}
_READ = {
    3: "for (let i = 0; i < plane; i++) "
    "for (let c = 0; c < 3; c++) levels[c * plane + i] = image.data[4 * i + c] / 127.5 - 1;",
    1: """\
for (let i = 0; i < plane; i++) {
  const [red, green, blue] = image.data.subarray(4 * i);
  levels[i] = (0.299 * red + 0.587 * green + 0.114 * blue) / 127.5 - 1;
}""",
}


def about_translation(facts: Mapping[str, Any], size: int) -> tuple[str, list[str]]:
    """A sentence on what the generator does, and lines about its sheet of examples."""
    summary = f"Translates images of {size} x {size} pixels to other classes of {' and '.join(facts['targets'])}."
    if not facts.get("sheet"):
        return summary, ["The training's sample sheets were no longer stored when it was exported."]
    return summary, [
        "![Training images and their translations](samples.png)",
        "",
        "The sheet shows images of the training data, chosen by the sweep's seed, above their translations.",
    ]


def translation_limits() -> list[str]:
    """Lines of markdown."""
    return [
        "- It works on images like its training images. Other images are translated too, but badly.",
        "- It was scored on its training images: there is no ground truth for their translations.",
        "- `--to` names the target tags. The tags that an image already has are not detected.",
    ]


def translation_usage(
    vocabulary: Mapping[str, Any], targets: list[str], about: Mapping[str, Any], example: tuple[int, ...]
) -> list[str]:
    """Lines of markdown.

    Args:
        vocabulary: groups and classes, as ``tags.json`` has them.
        targets: the groups that are changed.
        about: content of ``config.json``.
        example: a class of each group.
    """
    groups = vocabulary["groups"]
    words = {group["name"]: group["classes"][label] for group, label in zip(groups, example, strict=True)}
    image, fit = image_words(about["params"]), about.get("fit", "crop")
    given = {"text": " ".join(f"{words[name]} {name}" for name in targets), "row": list(example), **image}
    given |= {"mode": "L" if image["channels"] == 1 else "RGB", "square": _SQUARE[fit]}
    row_js = ", ".join(f"{label}n" for label in example)
    order = ", ".join(f"`{group['name']}`" for group in groups)
    return [
        "## Use",
        "",
        _SHELL.format(**given),
        "",
        "In Python, with gansweep:",
        "",
        _GANSWEEP.format(**given),
        "",
        "Without it: inputs are `sources` (n, {channels}, {size}, {size}), {kind} in [-1, 1], and ".format(**image)
        + f"`tags` (n, {len(groups)}): a class number per group, in the order {order}, counted from 0 as `tags.json` "
        "lists them; those of "
        f"{', '.join(f'`{name}`' for name in targets)} count. "
        "The output has the shape and range of the sources; clip values outside.",
        "",
        _ONNX.format(**given),
        "",
        _PROGRAM.format(**given),
        "",
        "In a browser, whose resizing differs slightly from that of training:",
        "",
        _JAVASCRIPT.format(row_js=row_js, groups=len(groups), draw=_DRAW[fit], read=_READ[image["channels"]], **given),
        "",
        "Over HTTP, if it was registered (`gansweep export --register MODEL`) and `mlflow models serve` runs it:",
        "",
        _SERVED.format(**given),
    ]
