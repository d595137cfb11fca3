"""How far our gradients are from autograd's, over many random networks (those of tests/random_networks.py).

Usage: python bench/gradients.py
"""

import statistics
import sys
from pathlib import Path

import torch
from reporting import machine, table, write_section

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.random_networks import gradient_error

NETWORKS = 500


def main() -> None:
    rows = []
    for dtype, wanted in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        errors = [gradient_error(seed, dtype) for seed in range(NETWORKS)]
        name = str(dtype).removeprefix("torch.")
        rows.append([name, f"{statistics.median(errors):.1e}", f"{max(errors):.1e}", f"{wanted:.0e}"])
    text = f"""## Gradients

By `bench/gradients.py`, on {machine()}:
{NETWORKS} random networks of 9 to 17 blocks (convolutions, activations, batch and group normalization in training,
pooling, shared blocks, forks, sums and products) with cross-entropy. The gradient by all parameters and the input,
beside that of torch's autograd: |ours − autograd's| / |autograd's|.

{table(["numbers", "median", "worst", "wanted"], rows)}
"""
    write_section("gradients", text)


if __name__ == "__main__":
    main()
