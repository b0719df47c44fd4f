"""Speed of the networks, compared with the published one (tests/published_network.py) in alternating runs.

    python benchmarks/model.py [--repeats 5] [--batch 8] [--threads 2]

Pictures per second of inference (forward without gradients) and training (forward, backward and an optimiser step). The
published network runs in its own process. For bfloat16, the greatest difference of a logit from float32 is printed too.
"""

import argparse
import multiprocessing
import sys
import time
from functools import cache
from multiprocessing.pool import Pool
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.model_test_train.training.trainer import Recipe, begin_run
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.params import build_settings
from explain_deepfakes.pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from published_network import PublishedNetwork

PUBLISHED = "published, plain"
CONFIGS = {"published, ours": "explained_architecture", "ours": "patch_transformer"}


@cache
def load_network(name: str) -> tuple[nn.Module, torch.optim.Optimizer, int]:
    """The network, its optimiser and its input size in pixels."""
    torch.manual_seed(0)
    if name == PUBLISHED:
        network: nn.Module = PublishedNetwork()
        trainable = [weight for weight in network.parameters() if weight.requires_grad]
        return network, torch.optim.SGD(trainable, 0.01, weight_decay=1e-7), 224
    keep_memory()
    description = read_description(CODE / f"model_test_train/configs/{CONFIGS[name]}.yaml")
    ours = build_network(description).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = begin_run(ours, build_settings(Recipe, description["training"], "training"), 100, 1)
    return ours, run.optimizer, ours.input.size


def time_run(name: str, mode: str, precision: torch.dtype, batch: int, threads: int) -> float:
    """Seconds of one run in mode `forward` or `training`."""
    torch.set_num_threads(threads)
    network, optimizer, size = load_network(name)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(batch, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    if name == PUBLISHED:
        pixels = pixels.contiguous()
    labels = torch.arange(batch) % 2 * 1.0
    run = run_forward if mode == "forward" else run_training_step
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        run(network, optimizer, pixels, labels)
    return time.perf_counter() - start


def run_forward(network: nn.Module, _: torch.optim.Optimizer, pixels: Tensor, __: Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        network(pixels)


def run_training_step(network: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, labels: Tensor) -> None:
    network.train()
    loss = binary_cross_entropy_with_logits(network(pixels).flatten().float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def error_of_bf16(name: str, batch: int) -> float:
    """The greatest difference of a logit between bfloat16 and float32."""
    network, _, size = load_network(name)
    network.eval()
    pixels = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        exact = network(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            approximate = network(pixels)
    return float((exact - approximate.float()).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="number of runs; the median is reported")
    parser.add_argument("--batch", type=int, default=8, help="pictures per batch")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch threads")
    args = parser.parse_args()
    print(f"{'':<12}{'network':<18}{'precision':<11}{'pictures/s':>11}{'ratio':>8}{'logit error':>14}")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for mode in ("forward", "training"):
            benchmark(mode, pool, args.repeats, args.batch, args.threads)


def benchmark(mode: str, pool: Pool, repeats: int, batch: int, threads: int) -> None:
    """Time all networks and print a row for each; the published network runs in the pool."""
    rows = [(PUBLISHED, torch.float32)] + [
        (name, precision) for name in CONFIGS for precision in (torch.float32, torch.bfloat16)
    ]
    seconds: dict[tuple[str, torch.dtype], list[float]] = {row: [] for row in rows}
    for number in range(repeats + 1):
        for name, precision in rows:
            arguments = name, mode, precision, batch, threads
            duration = pool.apply(time_run, arguments) if name == PUBLISHED else time_run(*arguments)
            if number:  # the first run loads the network and warms up
                seconds[name, precision].append(duration)
    for (name, precision), durations in seconds.items():
        baseline = seconds[PUBLISHED, torch.float32]
        ratio = median(theirs / ours for theirs, ours in zip(baseline, durations, strict=True))
        error = f"{error_of_bf16(name, batch):.1e}" if precision == torch.bfloat16 else ""
        dtype = str(precision).removeprefix("torch.")
        print(f"{mode:<12}{name:<18}{dtype:<11}{batch / median(durations):>11.1f}{ratio:>7.1f}x{error:>14}", flush=True)


if __name__ == "__main__":
    main()
