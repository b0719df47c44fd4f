"""Speed and memory of relevancy maps, compared with the published method (tests/published_network.py) in alternating runs.

    python benchmarks/explain.py [--repeats 5] [--pictures 4] [--threads 2]

The published method processes one picture at a time and computes the relevancy for the fake class only; ours also computes
it for the real class. Each runs in its own process. Its peak memory is counted relative to the memory after loading the
network.
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

from explain_deepfakes.explain_model.maps.relevancy import token_relevancy
from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.pipeline.memory import keep_memory, peak_memory
from explain_deepfakes.pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from published_network import PublishedNetwork, published_relevancy

PUBLISHED = "published, plain"
CONFIGS = {"published, ours": "explained_architecture", "ours": "patch_transformer"}


@cache
def load_network(name: str) -> tuple[nn.Module, int, float]:
    """The network, its input size in pixels, and the process's peak memory (MB) after loading it."""
    torch.manual_seed(0)
    if name == PUBLISHED:
        return PublishedNetwork().eval(), 224, peak_memory() / 1e6
    keep_memory()
    network = build_network(read_description(CODE / f"model_test_train/configs/{CONFIGS[name]}.yaml")).eval()
    return network, network.input.size, peak_memory() / 1e6


def run_relevancy(name: str, count: int, threads: int) -> tuple[float, float, Tensor]:
    """Seconds, additional peak memory (MB) and the relevancy (count, tokens)."""
    torch.set_num_threads(threads)
    network, size, memory_before = load_network(name)
    pixels = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    start = time.perf_counter()
    if isinstance(network, PublishedNetwork):
        attentions: list[nn.Module] = [block.attn for block in network.transformer.blocks]
        relevancy = torch.stack([published_relevancy(network, attentions, picture[None], 1.0) for picture in pixels])
    else:
        relevancy = token_relevancy(network, pixels).for_fake
    return time.perf_counter() - start, peak_memory() / 1e6 - memory_before, relevancy


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="number of runs; the median is reported")
    parser.add_argument("--pictures", type=int, default=4, help="pictures per run")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch threads")
    args = parser.parse_args()
    names = (PUBLISHED, *CONFIGS)
    pools: dict[str, Pool] = {name: multiprocessing.get_context("spawn").Pool(1) for name in names}
    rounds = [
        {name: pools[name].apply(run_relevancy, (name, args.pictures, args.threads)) for name in names}
        for _ in range(args.repeats + 1)
    ][1:]  # the first round loads the networks and warms up
    print(f"{'network':<18}{'pictures/s':>11}{'ratio':>8}{'more MB':>9}")
    for name in names:
        ratio = median(results[PUBLISHED][0] / results[name][0] for results in rounds)
        seconds = median(results[name][0] for results in rounds)
        print(f"{name:<18}{args.pictures / seconds:>11.1f}{ratio:>7.1f}x{rounds[-1][name][1]:>9.0f}")
    for pool in pools.values():
        pool.terminate()


if __name__ == "__main__":
    main()
