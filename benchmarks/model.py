"""The networks measured against the published one, written plainly (tests/published_network.py), in turns on the same machine.

    python benchmarks/model.py [--repeats 5] [--batch 8] [--threads 2]

Pictures a second, forward (no gradients) and in training (forward, backward, a step of the optimiser). The plain network runs
in a process of its own, as it would by itself. Beside bfloat16 is how far its logits lie from those in float32.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.pool import Pool
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from model_test_train.networks.network import build_network, read_description
from model_test_train.training.trainer import Recipe, begin_run
from pipeline.memory import keep_memory
from pipeline.params import build
from pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from published_network import PublishedNetwork

PLAIN = "published, plain"
CONFIGS = {"published, ours": "explained_architecture", "ours": "places"}


@cache
def network_of(name: str) -> tuple[nn.Module, torch.optim.Optimizer, int]:
    """And its optimiser, and the side of its pictures."""
    torch.manual_seed(0)
    if name == PLAIN:
        network: nn.Module = PublishedNetwork()
        learning = [weight for weight in network.parameters() if weight.requires_grad]
        return network, torch.optim.SGD(learning, 0.01, weight_decay=1e-7), 224
    keep_memory()
    description = read_description(CODE / f"model_test_train/configs/{CONFIGS[name]}.yaml")
    ours = build_network(description).to(memory_format=torch.channels_last)
    run = begin_run(ours, build(Recipe, description["training"], "training"), 100, 1)
    return ours, run.optimizer, ours.input.size


def seconds_of(name: str, what: str, precision: torch.dtype, batch: int, threads: int) -> float:
    torch.set_num_threads(threads)
    network, optimizer, side = network_of(name)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(batch, 3, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    if name == PLAIN:
        pixels = pixels.contiguous()
    labels = torch.arange(batch) % 2 * 1.0
    act = forward if what == "forward" else step
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        act(network, optimizer, pixels, labels)
    return time.perf_counter() - begun


def forward(network: nn.Module, _: torch.optim.Optimizer, pixels: Tensor, __: Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        network(pixels)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, labels: Tensor) -> None:
    network.train()
    loss = binary_cross_entropy_with_logits(network(pixels).flatten().float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def error_of_bf16(name: str, batch: int) -> float:
    """The largest difference of a logit."""
    network, _, side = network_of(name)
    network.eval()
    pixels = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        exact = network(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(pixels)
    return float((exact - rough.float()).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="the median of which is given")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print(f"{'':<12}{'network':<18}{'precision':<11}{'pictures/s':>11}{'ratio':>8}{'logit off by':>14}")
    with multiprocessing.get_context("spawn").Pool(1) as apart:
        for what in ("forward", "training"):
            measure(what, apart, given.repeats, given.batch, given.threads)


def measure(what: str, apart: Pool, repeats: int, batch: int, threads: int) -> None:
    rows = [(PLAIN, torch.float32)] + [(name, precision) for name in CONFIGS for precision in (torch.float32, torch.bfloat16)]
    seconds: dict[tuple[str, torch.dtype], list[float]] = {row: [] for row in rows}
    for number in range(repeats + 1):
        for name, precision in rows:
            place: Callable[..., float] = seconds_of if name != PLAIN else lambda *asked: apart.apply(seconds_of, asked)
            took = place(name, what, precision, batch, threads)
            if number:  # the first one loads and warms up
                seconds[name, precision].append(took)
    for (name, precision), took in seconds.items():
        ratio = median(a / b for a, b in zip(seconds[PLAIN, torch.float32], took, strict=True))
        off = f"{error_of_bf16(name, batch):.1e}" if precision == torch.bfloat16 else ""
        told = str(precision).removeprefix("torch.")
        print(f"{what:<12}{name:<18}{told:<11}{batch / median(took):>11.1f}{ratio:>7.1f}x{off:>14}", flush=True)


if __name__ == "__main__":
    main()
