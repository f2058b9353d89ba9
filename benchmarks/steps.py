"""Seconds per training step of every system's recipe, in gansweep's loop and in a straightforward implementation.

    python -m benchmarks.steps [--quick] [--systems dcgan acgan] [-o steps.json]

*Straightforward* has the same networks and losses, in the style of PyTorch's DCGAN example: contiguous NCHW tensors,
stock layers, Adam with its defaults, gradients of the discriminator in the generator's step too, and every figure read
back with ``.item()`` at every step. For ``dcgan`` the example itself, which shares one batch of fakes between both
steps, is timed as well. All read images from memory, so that only the step is timed.

The implementations run in turns in one process on one thread; the table has medians and ratios. On a CPU, process time
is measured, which other programs influence less. ``-o steps.json`` also writes ``steps.png``. Run it from the
repository's root.

A step is an update of both networks; where a penalty is taken at every k-th, the mean of k updates.

On a CPU, the same rounds time one large matrix product and one large convolution: the second line of a system has the
counted operations of a real image, the rate that our float32 step reaches, that as a share of both, and the three
largest losses, as shares of the step's time: what products take beyond the convolution's rate, other operations, and
what is outside operations.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks.limits import CONVOLUTION, FLOPS, MATRIX, large_products, largest_losses
from search_spaces.registry import SPACES
from trainables.config import TRANSLATING, GanConfig
from trainables.data.tags import REPORT_VOCABULARY, combinations
from trainables.losses.penalties import lazy_scale
from trainables.networks.blocks import PointConvTranspose2d
from trainables.storage.atomic import write_json
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch
from trainables.training.flops import flops_per_image
from trainables.training.loop import TrainingData, TrainingLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainables.precision import Precision

    Step = Callable[[], None]

SYSTEMS = tuple(name for name in SPACES if not name.startswith("anything") and name not in TRANSLATING)
"""Systems that generate from noise; there is no straightforward implementation of translation here."""
PLAIN, EXAMPLE, OURS, OURS_BF16 = "straightforward", "official example", "gansweep", "gansweep bf16"
PICTURES = 256
QUICK: dict[str, Any] = {
    "image_size": 32, "generator.width": 16, "discriminator.width": 16, "generator.blocks": 2,
    "training.batch_size": 32,
}  # fmt: skip


def recipe(name: str, options: argparse.Namespace) -> GanConfig:
    changes = dict(QUICK) if options.quick else {}
    if options.size:
        changes["image_size"] = options.size
    if options.width:
        changes |= {"generator.width": options.width, "discriminator.width": options.width}
    return GanConfig.from_params({**SPACES[name].recipe, **changes})


def random_data(config: GanConfig, device: str) -> TrainingData:
    """Return noise images with random tags of the reports."""
    labels = torch.stack([torch.randint(size, (PICTURES,)) for size in REPORT_VOCABULARY.sizes], 1)
    images = torch.randint(0, 256, (PICTURES, config.image_size, config.image_size, 3), dtype=torch.uint8)
    return TrainingData(images.to(device), labels.to(device), labels.to(device))


def make_system(config: GanConfig, data: TrainingData, precision: Precision = "float32") -> ConditionalGan:
    pairs = combinations(data.tags.cpu().numpy()) if config.tags.encoding == "pairs" else ()
    return ConditionalGan(config, REPORT_VOCABULARY.sizes, pairs, precision)


def our_step(config: GanConfig, data: TrainingData, precision: Precision) -> Step:
    loop = TrainingLoop(make_system(config, data, precision), data, config)

    def step() -> None:
        loop.train_until(loop.images_seen + 1)

    return step


def plain_step(config: GanConfig, data: TrainingData) -> Step:
    """Return a step with the same losses, written as in a tutorial."""
    device, size = data.images.device, config.training.batch_size
    system = make_system(config, data)
    for network in (system.generator.to(device), system.discriminator.to(device)):
        for module in network.modules():
            if isinstance(module, PointConvTranspose2d):
                module.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]  # the stock layer that it derives from
    optimizer_d, optimizer_g = (default_optimizer(config, part) for part in (system.discriminator, system.generator))
    images, penalties = as_floats(data), itertools.count()

    def draw() -> Batch:
        real, requested = (torch.randint(PICTURES, (size,), device=device) for _ in range(2))
        noise = torch.randn(size, config.generator.noise_dim, device=device)
        return Batch(images[real], data.labels[real], noise, data.tags[requested])

    def step() -> None:
        for _ in range(config.updates.discriminator_steps):
            system.penalty_scale = lazy_scale(config.losses.penalty_every, next(penalties))
            for loss in system.discriminator_losses(draw()):
                system.discriminator.zero_grad()
                loss.total.backward()  # type: ignore[no-untyped-call]
                optimizer_d.step()
                system.constrain()
                _ = [figure.item() for figure in loss.figures.values()]
        for _ in range(config.updates.generator_steps):
            loss = system.generator_loss(draw())
            system.generator.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            optimizer_g.step()
            _ = [figure.item() for figure in loss.figures.values()]

    return step


def example_step(config: GanConfig, data: TrainingData) -> Step:
    """Return a step of PyTorch's DCGAN example (github.com/pytorch/examples, ``dcgan/main.py``) with its networks."""
    device, size, width = data.images.device, config.training.batch_size, config.generator.width
    inner = [1 << power for power in range((config.image_size // 8).bit_length() - 1, -1, -1)]
    up: list[nn.Module] = [nn.ConvTranspose2d(100, width * inner[0], 4, 1, 0, bias=False)]
    down: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for more, less in itertools.pairwise(inner):
        up += [
            nn.BatchNorm2d(width * more),
            nn.ReLU(True),
            nn.ConvTranspose2d(width * more, width * less, 4, 2, 1, bias=False),
        ]
    for less, more in itertools.pairwise(inner[::-1]):
        down += [
            nn.Conv2d(width * less, width * more, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * more),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    up += [nn.BatchNorm2d(width), nn.ReLU(True), nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    down += [nn.Conv2d(width * inner[0], 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    generator, discriminator = nn.Sequential(*up).to(device), nn.Sequential(*down).to(device)
    criterion, images = nn.BCELoss(), as_floats(data)
    optimizer_d, optimizer_g = (default_optimizer(config, part) for part in (discriminator, generator))

    def step() -> None:
        discriminator.zero_grad()
        label = torch.full((size,), 1.0, device=device)
        output = discriminator(images[torch.randint(PICTURES, (size,), device=device)]).view(-1)
        real = criterion(output, label)
        real.backward()
        seen = [output.mean().item()]
        fake = generator(torch.randn(size, 100, 1, 1, device=device))
        label.fill_(0.0)
        output = discriminator(fake.detach()).view(-1)
        false = criterion(output, label)
        false.backward()
        seen.append(output.mean().item())
        optimizer_d.step()
        generator.zero_grad()
        label.fill_(1.0)
        output = discriminator(fake).view(-1)
        fooled = criterion(output, label)
        fooled.backward()
        seen += [output.mean().item(), (real + false).item(), fooled.item()]
        optimizer_g.step()

    return step


def as_floats(data: TrainingData) -> torch.Tensor:
    assert isinstance(data.images, torch.Tensor)
    return (data.images.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous()


def default_optimizer(config: GanConfig, network: nn.Module) -> torch.optim.Optimizer:
    rates = config.optimizer
    if rates.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), lr=rates.generator_lr)
    return torch.optim.Adam(network.parameters(), lr=rates.generator_lr, betas=(rates.beta1, rates.beta2))


def find_limits(config: GanConfig, data: TrainingData, seconds: dict[str, float]) -> dict[str, Any]:
    """Return the operations of our float32 step, its rate, its shares of the large products' rates, and its losses."""
    pairs = combinations(data.tags.cpu().numpy()) if config.tags.encoding == "pairs" else ()
    per_image = flops_per_image(config, REPORT_VOCABULARY.sizes, pairs=pairs)
    per_step = per_image * config.training.batch_size * config.updates.discriminator_steps
    rate, every = per_step / seconds[OURS], config.losses.penalty_every
    shares = {name: rate / (FLOPS[name] / seconds[name]) for name in FLOPS}
    losses = largest_losses(our_step(config, data, "float32"), shares[CONVOLUTION], every * max(1, 3 // every))
    return {"flops_per_image": per_image, "flops_per_second": rate, "share_of": shares, "losses": losses}


def describe_limits(limits: dict[str, Any]) -> str:
    """Return the line of a system's limits."""
    shares = limits["share_of"]
    losses = ", ".join(f"{name} {share:.0%}" for name, share in limits["losses"].items())
    return (
        f"{'':16}{limits['flops_per_image'] / 1e6:.0f} Mflop per image, {limits['flops_per_second'] / 1e9:.1f} Gflop/s:"
        f" {shares[MATRIX]:.0%} of the matrix product, {shares[CONVOLUTION]:.0%} of the convolution"
        f"; losses: {losses}"
    )


def contestants(name: str, config: GanConfig, data: TrainingData) -> dict[str, Step]:
    steps = {PLAIN: plain_step(config, data)}
    if name == "dcgan":
        steps[EXAMPLE] = example_step(config, data)
    steps[OURS] = our_step(config, data, "float32")
    steps[OURS_BF16] = our_step(config, data, "bf16")
    return steps


def repeat(step: Step, times: int) -> Step:
    def steps() -> None:
        for _ in range(times):
            step()

    return steps


def measure(steps: dict[str, Step], rounds: int, device: str) -> dict[str, float]:
    """Return the median seconds per step of each implementation; their order changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(rounds + 1):  # the first step allocates
        random.Random(turn).shuffle(names)
        for name in names:
            taken = timed(steps[name], device)
            if turn:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(step: Step, device: str) -> float:
    if device == "cpu" and torch.get_num_threads() == 1:  # process time would add up several threads
        began = time.process_time()
        step()
        return time.process_time() - began
    wait: Callable[[], None] = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    began = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - began


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot the speed of each system relative to the straightforward step."""
    systems, kinds = report["systems"], (OURS, OURS_BF16)
    figure = Figure(figsize=(7, 0.6 * len(systems) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for place, kind in enumerate(kinds):
        ratios = [row["seconds"][PLAIN] / row["seconds"][kind] for row in systems.values()]
        rows = [index + 0.38 * (place - 0.5) for index in range(len(systems))]
        bars = axes.barh(
            rows,
            ratios,
            0.36,
            label=f"{kind}{'' if 'bf16' in kind else ' float32'}",
            color=("#4c72b0", "#dd8452")[place],
        )
        axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_yticks(range(len(systems)), list(systems))
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the straightforward step")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32 px, width 16, batches of 32")
    parser.add_argument("--size", type=int, help="side in pixels; default: each recipe's own")
    parser.add_argument("--width", type=int, help="width of both networks; default: each recipe's own")
    parser.add_argument("--systems", nargs="*", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, help="JSON file; a PNG is drawn beside it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "device": options.device,
        "threads": options.threads,
        "systems": {},
    }
    print(f"{'system':16}{'px':>4}{'width':>6}  milliseconds per step (speed relative to the straightforward step)")
    for name in options.systems:
        config = recipe(name, options)
        data, every = random_data(config, options.device), config.losses.penalty_every
        steps = {kind: repeat(step, every) for kind, step in contestants(name, config, data).items()}
        products = large_products() if options.device == "cpu" else {}
        seconds = measure({**steps, **products}, options.rounds, options.device)
        seconds |= {kind: seconds[kind] / every for kind in steps}
        row: dict[str, Any] = {"size": config.image_size, "width": config.generator.width, "seconds": seconds}
        report["systems"][name] = row
        cells = "".join(f"  {kind} {1000 * seconds[kind]:.0f} ({seconds[PLAIN] / seconds[kind]:.2f})" for kind in steps)
        print(f"{name:16}{config.image_size:4}{config.generator.width:6}{cells}", flush=True)
        if products:
            row["limits"] = find_limits(config, data, seconds)
            print(describe_limits(row["limits"]), flush=True)
    if options.output:
        write_json(options.output, report)
        draw(report, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
