"""The 8-3-8 encoder: eight one-hot patterns must pass through three hidden units, which learn a three-bit code.

Source: Rumelhart, Hinton, Williams 1986, "Learning internal representations by error propagation", and Mitchell 1997,
"Machine Learning", section 4.6.4.   Usage: python examples/encoder_8_3_8.py [FOLDER]
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from blockprop import Sequential, binary_cross_entropy, fit
from blockprop.blocks import Linear, Sigmoid
from blockprop.reports.curves import code_over_time
from blockprop.reports.figures import svg
from blockprop.saving.files import write_file

STEPS, SHOWN = 3000, 800


def train(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return (codes over time (steps, 8, 3), outputs in the end (8, 8))."""
    torch.manual_seed(seed)
    network = Sequential({"encode": Linear(8, 3), "code": Sigmoid(), "decode": Linear(3, 8)})
    patterns = torch.eye(8)
    codes = []
    records = fit(
        network, (patterns, patterns), binary_cross_entropy(), epochs=STEPS, batch_size=8, rate=2.0, momentum=0.9
    )
    for record in records:
        if record.step % 10 == 1:
            codes.append(network.forward(patterns, keep=["code"])["code"])
    codes.append(network.forward(patterns, keep=["code"])["code"])
    return torch.stack(codes), network(patterns).sigmoid()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    codes, outputs = train()
    bits = (codes[-1] > 0.5).int().tolist()
    for number, (code, row) in enumerate(zip(bits, outputs, strict=True)):
        code_text = "".join(map(str, code))
        print(f"pattern {number}: code {code_text}, given back as pattern {int(row.argmax())} ({row.max():.0%})")
    start = codes[: SHOWN // 10]  # the code is found early, the rest only sharpens it
    write_file(folder / "encoder_8_3_8.svg", svg(code_over_time(start, range(1, SHOWN + 1, 10))))
    print(f"{len(set(map(tuple, bits)))} different codes; the picture is {folder / 'encoder_8_3_8.svg'}")


if __name__ == "__main__":
    main()
