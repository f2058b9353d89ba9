"""What the model card of a generator that translates says otherwise; its code runs inside the export's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL = """\
```sh
gansweep translate . pictures/ --to "{text}" -o translated
```"""

_GANSWEEP = """\
```python
from pathlib import Path

import numpy as np

from pipeline.bundle import Bundle
from trainables.data.images import load_image

bundle = Bundle.load(Path("."))  # Bundle.load(Path("."), "onnx") needs no torch
pixels = load_image(Path("picture.jpg"), {size})[None]  # (1, {size}, {size}, 3) uint8
translated = bundle.translate(pixels, np.array([{row}]))  # {text}
```"""

_ONNX = """\
```python
import numpy as np
import onnxruntime
from PIL import Image

picture = Image.open("picture.jpg").convert("RGB").resize(({size}, {size}))  # a square one, or its centre
sources = (np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
session = onnxruntime.InferenceSession("generator.onnx")
(pictures,) = session.run(None, {{"sources": sources, "tags": np.array([{row}])}})  # {text}
pixels = np.rint((pictures.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
Image.fromarray(pixels[0]).save("translated.png")
```"""

_PROGRAM = """\
```python
import torch

generator = torch.export.load("generator.pt2").module()
pictures = generator(torch.rand(16, 3, {size}, {size}) * 2 - 1, torch.tensor([{row}] * 16))  # RGB in [-1, 1]
```"""

_JAVASCRIPT = """\
```js
import * as ort from "onnxruntime-web";

const size = {size}, plane = size * size, canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
const picture = await createImageBitmap(await (await fetch("picture.jpg")).blob());
const side = Math.min(picture.width, picture.height);
canvas.width = canvas.height = size;
pen.fillStyle = "white"; // under what is transparent
pen.fillRect(0, 0, size, size);
pen.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, size, size);
const image = pen.getImageData(0, 0, size, size), levels = new Float32Array(3 * plane);
for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) levels[c * plane + i] = image.data[4 * i + c] / 127.5 - 1;
const sources = new ort.Tensor("float32", levels, [1, 3, size, size]);
const tags = new ort.Tensor("int64", BigInt64Array.of({row_js}), [1, {groups}]); // {text}
const session = await ort.InferenceSession.create("generator.onnx");
const {{ pictures }} = await session.run({{ sources, tags }});
for (let i = 0; i < plane; i++) {{
  for (let c = 0; c < 3; c++) image.data[4 * i + c] = (pictures.data[c * plane + i] + 1) * 127.5; // cuts and rounds
}}
pen.putImageData(image, 0, 0);
```"""

_SERVED = """\
```python
import base64
import json
import urllib.request

picture = base64.b64encode(open("picture.jpg", "rb").read()).decode()  # of any size
body = json.dumps({{"dataframe_records": [{{"picture": picture, "to": "{text}"}}]}}).encode()
asked = urllib.request.Request("http://127.0.0.1:5001/invocations", body, {{"content-type": "application/json"}})
(answer,) = json.load(urllib.request.urlopen(asked))["predictions"]
open("translated.png", "wb").write(base64.b64decode(answer["png"]))
```"""


def about_translation(facts: Mapping[str, Any], size: int) -> tuple[str, list[str]]:
    """What the generator does, and lines about the sheet of examples."""
    told = f"Translates pictures of {size} x {size} pixels to other classes of {' and '.join(facts['targets'])}."
    if not facts.get("sheet"):
        return told, ["The sheets of its training were gone when it was exported."]
    return told, [
        "![Training pictures and what becomes of them](samples.png)",
        "",
        "The sheet shows pictures of the training data, chosen by the sweep's seed, and what becomes of them.",
    ]


def translation_limits() -> list[str]:
    """Lines of markdown."""
    return [
        "- It knows pictures like its training pictures. Another kind of picture gives an answer too, and a bad one.",
        "- It was scored on its training pictures: nobody knows what their translations should look like.",
        "- `--to` is what to make of a picture. What it shows already is not looked at.",
    ]


def translation_usage(
    vocabulary: Mapping[str, Any], targets: list[str], size: int, example: tuple[int, ...]
) -> list[str]:
    """Lines of markdown.

    Args:
        vocabulary: groups and classes, as ``tags.json`` has them.
        targets: the groups that are changed.
        size: pixels of a side.
        example: a class of each group.
    """
    groups = vocabulary["groups"]
    words = {group["name"]: group["classes"][label] for group, label in zip(groups, example, strict=True)}
    given = {"text": " ".join(f"{words[name]} {name}" for name in targets), "size": size, "row": list(example)}
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
        f"Without it: inputs are `sources` (n, 3, {size}, {size}), RGB in [-1, 1], and `tags` (n, {len(groups)}): a "
        f"class number per group, in the order {order}, counted from 0 as `tags.json` lists them; those of "
        f"{', '.join(f'`{name}`' for name in targets)} count. Pictures come as the sources; cut what lies outside.",
        "",
        _ONNX.format(**given),
        "",
        _PROGRAM.format(**given),
        "",
        "In a browser, which resizes a little otherwise than training did:",
        "",
        _JAVASCRIPT.format(row_js=row_js, groups=len(groups), **given),
        "",
        "Over HTTP, where it was registered (`gansweep export --register MODEL`) and `mlflow models serve` runs it:",
        "",
        _SERVED.format(**given),
    ]
