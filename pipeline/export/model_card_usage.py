"""The usage section of a model card: every code block runs as it stands, inside the export's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.config import CHANNEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL = """\
```sh
gansweep generate .{asked} -n 16 --seed 0 -o grid.png
```"""

_GANSWEEP = """\
```python
from pathlib import Path

from gansweep import Bundle

bundle = Bundle.load(Path("."))  # Bundle.load(Path("."), "onnx") needs no torch
labels = bundle.complete({wanted}, count=16, seed=0)
pixels = bundle.draw(labels, seed=0)  # (16, {size}, {size}, {channels}) uint8
```"""

_ONNX = """\
```python
{json}import numpy as np
import onnxruntime
from PIL import Image

noise = np.random.default_rng(0).standard_normal((16, {noise})).astype(np.float32)
{tags}session = onnxruntime.InferenceSession("generator.onnx")
(images,) = session.run(None, {{{inputs}}})
pixels = np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
Image.fromarray({first}).save("image.png")
```"""

_ONNX_TAGS = """\
asked = {asked}
groups = json.load(open("tags.json"))["vocabulary"]["groups"]
row = [group["classes"].index(asked[group["name"]]) for group in groups]
"""

_PROGRAM = """\
```python
import torch

generator = torch.export.load("generator.pt2").module()
images = generator(torch.randn(16, {noise}){tags})  # (16, {channels}, {size}, {size}), {kind} in [-1, 1]
```"""

_JAVASCRIPT = """\
```js
import * as ort from "onnxruntime-web";

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const noise = new ort.Tensor("float32", Float32Array.from({{ length: {noise} }}, normal), [1, {noise}]);
{tags}const session = await ort.InferenceSession.create("generator.onnx");
const {{ pictures }} = await session.run({{ {inputs} }}); // the name of the output
const size = {size}, plane = size * size, image = new ImageData(size, size);
for (let i = 0; i < plane; i++) {{
  for (let c = 0; c < 3; c++) image.data[4 * i + c] = (pictures.data[{place}] + 1) * 127.5; // cuts and rounds
  image.data[4 * i + 3] = 255;
}}
const canvas = document.querySelector("canvas");
canvas.width = canvas.height = size;
canvas.getContext("2d").putImageData(image, 0, 0);
```"""

_JAVASCRIPT_TAGS = """\
const tags = new ort.Tensor("int64", BigInt64Array.of({row}), [1, {groups}]); // {example}
"""


def image_words(params: Mapping[str, Any]) -> dict[str, Any]:
    """What code says about images of the configuration: their shape, their kind, and how one is taken out of several.

    Configurations of version 0.1.0 do not say that they have three channels.
    """
    channels = params.get("channels", 3)
    return {
        "size": params["image_size"],
        "channels": channels,
        "kind": CHANNEL_NAMES[channels],
        "first": "pixels[0]" if channels == 3 else "pixels[0, :, :, 0]",
        "place": "c * plane + i" if channels == 3 else "i",
    }


def usage(vocabulary: Mapping[str, Any], params: Mapping[str, Any], example: tuple[int, ...]) -> list[str]:
    """Lines of markdown.

    Args:
        vocabulary: groups and classes, as ``tags.json`` has them.
        params: flat parameters of the configuration.
        example: a class of each group, which the generator knows together.
    """
    groups, conditional = vocabulary["groups"], params["generator.conditioning"] != "none"
    words = {group["name"]: group["classes"][label] for group, label in zip(groups, example, strict=True)}
    text = " ".join(f"{word} {name}" for name, word in words.items())
    given = {"noise": params["generator.noise_dim"], **image_words(params)}
    row = ", ".join(map(str, example))
    order = ", ".join(f"`{group['name']}`" for group in groups)
    takes = (
        f"Inputs are `noise` (n, {given['noise']}), standard normal, and `tags` (n, {len(groups)}): a class number per "
        f"group, in the order {order}, counted from 0 as `tags.json` lists them."
        if conditional
        else f"The input is `noise` (n, {given['noise']}), standard normal."
    )
    wanted = f'bundle.vocabulary.parse("{text}")' if conditional else f"{(-1,) * len(groups)}"
    onnx_tags = _ONNX_TAGS.format(asked=str(words).replace("'", '"')) if conditional else ""
    onnx_inputs = '"noise": noise' + (', "tags": np.tile(np.int64(row), (16, 1))' if conditional else "")
    script_tags = _JAVASCRIPT_TAGS.format(
        row=", ".join(f"{label}n" for label in example), groups=len(groups), example=text
    )
    return [
        "## Use",
        "",
        _SHELL.format(asked=f' "{text}"' if conditional else ""),
        "",
        "In Python, with gansweep:",
        "",
        _GANSWEEP.format(wanted=wanted, **given),
        "",
        f"Without it: {takes} "
        "The output is (n, {channels}, height, width), {kind} in [-1, 1]; clip values outside.".format(**given),
        "",
        _ONNX.format(json="import json\n\n" if conditional else "", tags=onnx_tags, inputs=onnx_inputs, **given),
        "",
        _PROGRAM.format(tags=f", torch.tensor([[{row}]] * 16)" if conditional else "", **given),
        "",
        "In a browser:",
        "",
        _JAVASCRIPT.format(
            tags=script_tags if conditional else "", inputs="noise, tags" if conditional else "noise", **given
        ),
    ]
