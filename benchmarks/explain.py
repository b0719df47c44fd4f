"""Relevancy measured against the published way, written plainly (tests/published_network.py), in turns on the same machine.

    python benchmarks/explain.py [--repeats 5] [--pictures 4] [--threads 2]

The published way takes the pictures one by one, and asks what spoke for fake; ours also says what spoke for real. Each runs
in a process of its own; the peak of its memory is counted from what that held when the network was loaded.
"""

import argparse
import multiprocessing
import sys
import time
from functools import cache
from multiprocessing.pool import Pool
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from explain_model.maps.relevancy import token_relevancy
from model_test_train.networks.network import build_network, read_description
from pipeline.memory import keep_memory, peak_memory
from pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from published_network import PublishedNetwork, published_relevancy

PLAIN = "published, plain"
CONFIGS = {"published, ours": "explained_architecture", "ours": "places"}


@cache
def network_of(name: str) -> tuple[Any, int, float]:
    """The network, the side of its pictures, and the most memory that the process held before it was asked anything (MB)."""
    torch.manual_seed(0)
    if name == PLAIN:
        network: Any = PublishedNetwork().eval()
        side = 224
    else:
        keep_memory()
        network = build_network(read_description(CODE / f"model_test_train/configs/{CONFIGS[name]}.yaml")).eval()
        side = network.input.size
    return network, side, peak_memory() / 1e6


def explained(name: str, count: int, threads: int) -> tuple[float, float, Tensor]:
    """Seconds, MB more than before, and the relevancy (count, tokens)."""
    torch.set_num_threads(threads)
    network, side, before = network_of(name)
    pixels = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    begun = time.perf_counter()
    if name == PLAIN:
        attentions: list[nn.Module] = [block.attn for block in network.transformer.blocks]
        found = torch.stack([published_relevancy(network, attentions, picture[None], 1.0) for picture in pixels])
    else:
        found = token_relevancy(network, pixels).for_fake
    return time.perf_counter() - begun, peak_memory() / 1e6 - before, found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="the median of which is given")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    names = (PLAIN, *CONFIGS)
    pools: dict[str, Pool] = {name: multiprocessing.get_context("spawn").Pool(1) for name in names}
    asked = given.pictures, given.threads
    turns = [{name: pools[name].apply(explained, (name, *asked)) for name in names} for _ in range(given.repeats + 1)]
    rounds = turns[1:]  # the first one loads and warms up
    print(f"{'network':<18}{'pictures/s':>11}{'ratio':>8}{'more MB':>9}")
    for name in names:
        ratio = median(one[PLAIN][0] / one[name][0] for one in rounds)
        seconds = median(one[name][0] for one in rounds)
        print(f"{name:<18}{given.pictures / seconds:>11.1f}{ratio:>7.1f}x{rounds[-1][name][1]:>9.0f}")
    for pool in pools.values():
        pool.terminate()


if __name__ == "__main__":
    main()
