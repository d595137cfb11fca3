"""A block whose settings a file makes long or large is refused at once, in a sentence, or does what it says at once."""

import json
import subprocess
import sys

import torch

from blockprop import Sequential, blocks


def test_no_setting_of_any_block_takes_long_or_much() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.trust.long_settings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (found[-1:], done.stderr[-1000:])
    assert len(found) > 700
    assert {kind for kind, *_ in found} > {"Transpose", "Unsqueeze", "Repeat", "Trees", "Affine"}
    for kind, name, value, came, seconds, grown in found:
        what = f"{kind}({name}={value})"
        assert seconds < 2, (what, came[:200], seconds)
        assert grown < 500e6, (what, came[:200], grown)
        assert len(came) < 2000, (what, came[:200])


def test_long_settings_are_shown_in_brief() -> None:
    shown = repr(Sequential({"units": blocks.Affine([0.5] * 1000)}))
    assert "0.5, 0.5" in shown
    assert "994 more" in shown
    assert len(shown) < 500


def test_orders_of_many_channels_go_back_quickly() -> None:
    order = torch.randperm(20_000).tolist()
    block, x = blocks.ChannelOrder(order), torch.rand(1, 20_000)
    y, saved = block.forward(x)
    assert torch.equal(block.propagate(saved, y)[0], x)
