"""Grad-CAM on networks of tokens: their places are those of the picture, beside an oracle of torch's autograd."""

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import Network, from_torch
from blockprop.blocks import Roll
from blockprop.errors import SettingError, ShapeError
from blockprop.visualize import saliency
from blockprop.visualize.attribution.cam import place_of
from blockprop.visualize.attribution.places import FIRST, LAST, PictureAxes
from blockprop.visualize.attribution.question import Question
from blockprop.visualize.objectives.scores import score
from tests.architectures.swin import Swin
from tests.architectures.vit import EncoderBlock, OwnAttention, TorchAttention
from tests.visualize.explained import close


class Tokens(nn.Module):
    """A vision transformer of any kind.

    patches: by "convolution" or "unfolding".   others: how many tokens stand before those of the grid, "late" ones
    between the class token and the grid, or behind it.   pool: "token", "mean" (of the grid) or "all".
    """

    def __init__(
        self,
        size: tuple[int, int] = (32, 32),
        patch: int = 8,
        patches: str = "convolution",
        others: int = 1,
        late: int = 0,
        behind: int = 0,
        pool: str = "token",
        attention: type[nn.Module] = OwnAttention,
        norm: type[nn.Module] = nn.LayerNorm,
        depth: int = 1,
    ) -> None:
        super().__init__()
        width = 24
        self.patch, self.patches, self.pool = patch, patches, pool
        self.grid = (size[0] // patch, size[1] // patch)
        count = self.grid[0] * self.grid[1]
        self.embed = nn.Conv2d(3, width, patch, patch) if patches == "convolution" else nn.Linear(3 * patch**2, width)
        self.first = nn.Parameter(torch.randn(1, others, width)) if others else None
        self.late = nn.Parameter(torch.randn(1, late, width)) if late else None
        self.behind = nn.Parameter(torch.randn(1, behind, width)) if behind else None
        self.positions = nn.Parameter(torch.randn(1, count + others, width))
        self.blocks = nn.ModuleList(EncoderBlock(width, 3, attention) for _ in range(depth))
        self.norm, self.head = norm(width), nn.Linear(width, 5)
        self.start = others + late

    def tokens(self, x: Tensor) -> Tensor:
        if self.patches == "convolution":
            return self.embed(x).flatten(2).transpose(1, 2)
        (rows, columns), p = self.grid, self.patch
        x = x.reshape(-1, 3, rows, p, columns, p).permute(0, 2, 4, 3, 5, 1)
        return self.embed(x.reshape(-1, rows * columns, 3 * p * p))

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        n = len(x)
        if self.first is not None:
            x = torch.cat([self.first.expand(n, -1, -1), x], 1)
        x = x + self.positions
        if self.late is not None:
            x = torch.cat([x[:, :1], self.late.expand(n, -1, -1), x[:, 1:]], 1)
        if self.behind is not None:
            x = torch.cat([x, self.behind.expand(n, -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        count = self.grid[0] * self.grid[1]
        if self.pool == "token":
            return self.head(x[:, 0])
        return self.head((x[:, self.start : self.start + count] if self.pool == "mean" else x).mean(1))


def oracle(module: Tokens, inner: nn.Module, x: Tensor, number: int) -> Tensor:
    """Grad-CAM of a module of tokens by autograd, before it is scaled: (n, 1, h, w)."""
    kept: list[Tensor] = []
    handle = inner.register_forward_hook(lambda _module, _inputs, y: kept.append(y))
    scores = module(x)
    handle.remove()
    (d,) = torch.autograd.grad(scores[:, number].sum(), kept[0])
    count = module.grid[0] * module.grid[1]
    y, d = (t[:, module.start : module.start + count].transpose(1, 2) for t in (kept[0], d))
    return (d.mean(2, keepdim=True) * y).sum(1).detach().reshape(len(x), 1, *module.grid)


def imported(module: nn.Module, *size: int, free: Any = False) -> tuple[Network, Tensor]:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return from_torch(module.double().eval(), x, free=free), x


KINDS: dict[str, dict[str, Any]] = {
    "class token": {},
    "class token, torch's attention": {"attention": TorchAttention},
    "no class token": {"others": 0, "pool": "all"},
    "registers, mean of the grid": {"late": 4, "pool": "mean"},
    "tokens behind": {"behind": 3},
    "large patches, oblong": {"size": (64, 32), "patch": 16},
    "unfolded": {"patches": "unfolding"},
    "unfolded, oblong, no class token": {"patches": "unfolding", "size": (24, 40), "others": 0, "pool": "mean"},
    "root mean squares": {"norm": nn.RMSNorm, "pool": "all"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_grad_cam_finds_the_grid(kind: str) -> None:
    torch.manual_seed(1)
    module = Tokens(**KINDS[kind])
    size = KINDS[kind].get("size", (32, 32))
    network, x = imported(module, *size)
    node, places = place_of(Question(network, score(network, 2)), x)
    inner = module.norm if module.pool != "token" else module.blocks[-1].norm1
    assert node == ("norm" if inner is module.norm else "blocks.0.norm1")
    assert (places.grid, places.start) == (module.grid, module.start)
    expected = oracle(module, inner, x, 2)
    seen = saliency(network, x, 2, "grad_cam")
    close(seen.attribution, F.interpolate(expected, size=size, mode="bilinear"))
    close(seen.map, F.interpolate(expected.clamp(min=0), size=size, mode="bilinear")[:, 0])


@functools.cache
def plain() -> tuple[Network, Tensor]:
    return imported(Tokens(), 32, 32)


def test_each_picture_of_a_batch_has_its_own_labels() -> None:
    network, x = plain()
    both = saliency(network, x, torch.tensor([2, 3]), "grad_cam")
    for i, number in enumerate((2, 3)):
        close(both.map[i], saliency(network, x, number, "grad_cam").map[i])


def test_a_node_that_is_named_and_a_grid_that_is_said() -> None:
    torch.manual_seed(1)
    module = Tokens(late=4, depth=2)
    network, x = imported(module, 32, 32)
    assert place_of(Question(network, score(network, 2)), x)[0] == "blocks.1.norm1"
    first = saliency(network, x, 2, "grad_cam", node="blocks.0.norm1").attribution
    expected = oracle(module, module.blocks[0].norm1, x, 2)
    close(first, F.interpolate(expected, size=(32, 32), mode="bilinear"))
    close(saliency(network, x, 2, "grad_cam", node="blocks.0.norm1", grid=(4, 4)).attribution, first)
    other = saliency(network, x, 2, "grad_cam", node="blocks.0.norm1", grid=(2, 8))
    assert other.map.shape == (2, 32, 32)


@pytest.mark.parametrize(
    ("node", "grid", "message"),
    [
        ("blocks.0.attention.permute", None, "gives 3 x 2 x 3 x 17 x 8, whose axes may be others; say which places"),
        ("blocks.0.attention.unbind.part0", None, "gives 2 x 3 x 17 x 8, whose axes may be others; say which places"),
        ("blocks.0.attention.unbind.part0", (4, 4), "a grid of 4 x 4 does not fit"),
        ("blocks.0.norm1", (5, 5), "a grid of 5 x 5 does not fit 'blocks.0.norm1', which gives 2 x 17 x 24"),
        ("select", None, "needs a node with channels, height and width; 'select' gives 2 x 24"),
        (None, (0, 4), r"grid must be \(height, width\), two whole numbers of at least 1, came \(0, 4\)"),
        (None, 4, "two whole numbers"),
        (None, (3, 5), "a grid of 3 x 5 does not fit 'embed', which has 4 x 4 places"),
    ],
)
def test_no_permutation_is_taken_for_a_picture(node: str | None, grid: Any, message: str) -> None:
    network, x = plain()
    with pytest.raises((SettingError, ShapeError), match=message):
        saliency(network, x, 2, "grad_cam", grid=grid, **({"node": node} if node else {}))


def test_a_grid_of_fewer_places_leaves_no_tokens_out_that_are_places() -> None:
    """None were joined to the 16 of 4 x 4; seven are not taken for others. Another form of 16 is the caller's word."""
    network, x = imported(Tokens(others=0, pool="mean"), 32, 32)
    with pytest.raises(SettingError, match="a grid of 3 x 3 does not fit"):
        saliency(network, x, 2, "grad_cam", grid=(3, 3))
    assert saliency(network, x, 2, "grad_cam", grid=(2, 8)).map.shape == (2, 32, 32)
    assert saliency(network, x, 2, "grad_cam", grid=(4, 4)).map.shape == (2, 32, 32)


def test_where_nothing_says_which_places_tokens_are() -> None:
    class Mixed(nn.Module):
        """Its tokens are no patches: seven mixtures of the whole picture."""

        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm, self.head = nn.Linear(3 * 32 * 32, 7 * 4), nn.LayerNorm(4), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.mix(x.flatten(1)).reshape(-1, 7, 4)).mean(1))

    network, x = imported(Mixed(), 32, 32)
    with pytest.raises(SettingError, match=r"no node on the way to .* is known to have height and width"):
        saliency(network, x, 2, "grad_cam")


def test_windows_and_stages() -> None:
    """Swin, channels last: the last norm, whose map is that of Zhou et al. 2016, up to a factor."""
    torch.manual_seed(0)
    module = Swin(counts=(2, 2), heads=(1, 2), classes=5)
    network, x = imported(module, 48, 64)
    node, places = place_of(Question(network, score(network, 2)), x)
    assert (node, places) == ("norm", PictureAxes(LAST, (6, 8)))
    kept: list[Tensor] = []
    module.norm.register_forward_hook(lambda _module, _inputs, y: kept.append(y))
    module(x)
    expected = (kept[0] @ module.head.weight[2]).detach() / 48
    close(saliency(network, x, 2, "grad_cam").attribution, F.interpolate(expected[:, None], (48, 64), mode="bilinear"))


def test_places_that_were_rolled_are_none_of_the_picture() -> None:
    """Their map would be drawn over a picture that is not shifted."""
    torch.manual_seed(0)
    network, x = imported(Swin(counts=(2, 2), heads=(1, 2), classes=5), 48, 64)
    rolls = [node.name for node in network.nodes if isinstance(node.block, Roll)]
    assert len(rolls) == 4
    for name in rolls:
        with pytest.raises(SettingError, match="whose axes may be others; say which places"):
            saliency(network, x, 2, "grad_cam", node=name)


def test_maps_stay_maps() -> None:
    class Both(nn.Module):
        """A convolution whose channels are normalized where they are last, as in ConvNeXt."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            x = x + self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.head(x.mean((2, 3)))

    network, x = imported(Both(), 32, 32)
    assert place_of(Question(network, score(network, 2)), x) == ("add", PictureAxes(FIRST, (8, 8)))
