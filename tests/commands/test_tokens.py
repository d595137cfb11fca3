"""`--tokens`: networks that read rows of whole numbers, on the command line and in Python."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from blockprop import Network, from_torch
from blockprop.cli import main
from blockprop.errors import SettingError, ShapeError
from blockprop.saving.storage import load
from blockprop.visualize.attribution.tokens import token_saliency
from tests.commands.running import PHOTO, Output, run_json, saved, sentence, small


class Bag(nn.Module):
    """Scores of three classes from the mean embedding of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm, self.head = nn.Embedding(9, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.table(tokens).mean(1)))


class Next(nn.Module):
    """Scores of each next token, from all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 6), nn.Linear(6, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.table(tokens).cumsum(1)))


def imported(module: nn.Module, *classes: str) -> Network:
    network = from_torch(module.eval(), torch.zeros(2, 4, dtype=torch.long), free=True)
    network.meta["classes"] = list(classes)
    return network


TOKENS = [5, 1, 7]


def test_predict_reads_tokens(capsys: Output) -> None:
    module = Bag()
    path = saved(imported(module, "good", "bad", "dull"))
    found = run_json(capsys, "predict", path, "--tokens", "5,1,7")["predictions"][0]
    shares = module(torch.tensor([TOKENS])).softmax(1)[0]
    assert found["example"] == "5,1,7"
    assert {one["class"]: pytest.approx(one["probability"]) for one in found["classes"]} == dict(
        zip(["good", "bad", "dull"], shares.tolist(), strict=True)
    )
    Path("rows.txt").write_text("5,1,7\n\n2 2\n")
    rows = run_json(capsys, "predict", "-n", path, "--tokens", "rows.txt")["predictions"]
    assert [row["example"] for row in rows] == ["rows.txt:1", "rows.txt:3"]
    assert rows[0]["classes"] == found["classes"]


LANGUAGE = """
import torch
from torch import nn


class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 6), nn.Linear(6, 3)

    def forward(self, tokens, mask):
        return self.head((self.table(tokens) * mask.unsqueeze(-1)).mean(1))


def build():
    torch.manual_seed(0)
    return Scores()
"""


def test_a_module_that_takes_tokens_is_imported(capsys: Output) -> None:
    Path("language.py").write_text(LANGUAGE)
    run_json(capsys, "import", "language.py:build", "--tokens", "5,1,7;1,1,1", "-o", "net.safetensors")
    network, scope = load("net.safetensors"), {}
    exec(LANGUAGE, scope)
    tokens, mask = torch.randint(0, 9, (4, 8)), torch.ones(4, 8, dtype=torch.long)
    assert torch.allclose(network(tokens, mask), scope["build"]()(tokens, mask))
    for arguments in ([], ["--shape", "3", "--tokens", "5,1,7"]):
        refusal = sentence(capsys, "import", "language.py:build", "-o", "other.safetensors", *arguments)
        assert "--shape 3,224,224, or, if it takes tokens, an example of them, --tokens 5,17,3" in refusal


def test_predict_shows_what_follows_the_last_token(capsys: Output) -> None:
    module = Next()
    found = run_json(capsys, "predict", saved(imported(module)), "--tokens", "5,1,7")
    assert found["predictions"][0]["values"] == pytest.approx(module(torch.tensor([TOKENS]))[0, -1].tolist(), rel=1e-5)
    assert "those of the last one are shown" in found["notes"][0]


@pytest.mark.parametrize("kind", [Bag, Next])
def test_weights_are_embeddings_times_gradients(kind: type[nn.Module], capsys: Output) -> None:
    module = kind()
    names = ("good", "bad", "dull") if kind is Bag else ()
    path = saved(imported(module, *names))
    (found,) = run_json(capsys, "saliency", "--tokens", "5,1,7", "-n", path, "-t", "2")["saliency"]
    embedded = module.table(torch.tensor([TOKENS])).detach().requires_grad_()
    handle = module.table.register_forward_hook(lambda *_: embedded)
    scores = module(torch.tensor([TOKENS]))
    handle.remove()
    score = scores[0, 2] if kind is Bag else scores[0, -1, 2]
    score.backward()
    assert found["weights"] == pytest.approx((embedded.grad * embedded).sum(-1)[0].tolist(), rel=1e-4)
    assert found["value"] == pytest.approx(score.item(), rel=1e-4)
    assert (found["tokens"], found["target"]) == (TOKENS, "dull" if kind is Bag else "2")


def test_people_see_bars_for_each_target(capsys: Output) -> None:
    path = saved(imported(Bag(), "good", "bad", "dull"))
    assert main(["saliency", "--tokens", "5,1,7", "-n", path, "-t", "good", "-t", "bad"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("5,1,7: for good, ")
    assert shown[1].split() == ["token", "weight"]
    assert [line.split()[0] for line in shown[2:5]] == ["5", "1", "7"]
    assert max(line.count("█") + line.count("░") for line in shown[2:5]) == 20
    assert shown[6].startswith("5,1,7: for bad, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "net.safetensors", "--tokens", "5,x"], "5,x: expected whole numbers such as 5,17,3, or a file of"),
        (["predict", "net.safetensors", "--tokens", ""], "--tokens has nothing in it"),
        (["predict", "net.safetensors", "--tokens", "5,9"], "the network knows tokens 0…8; came 5…9"),
        (["predict", "net.safetensors", "--tokens", "5", "more.csv"], "--tokens takes the place of data"),
        (
            ["predict", "photos.safetensors", "--tokens", "5,1"],
            "the network takes no tokens: it looks its input up in no",
        ),
        (["saliency", "--tokens", "5,1"], "--tokens needs a network that takes tokens: say which with --network"),
        (["saliency", PHOTO, "--tokens", "5,1"], "leave out photographs"),
        (["saliency", "--tokens", "5", "-n", "net.safetensors", "-m", "guided"], "gradient_times_input alone"),
        (["saliency"], "expected photographs, or --tokens for a network that takes tokens"),
        (["predict"], "expected photographs or other data"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, capsys: Output) -> None:
    saved(imported(Bag(), "good", "bad", "dull"))
    saved(small(), "photos.safetensors")
    assert message in sentence(capsys, *arguments)


def test_check_reads_tokens(capsys: Output) -> None:
    path = saved(imported(Bag(), "good", "bad", "dull"))
    found = run_json(capsys, "check", path, "--tokens", "5,1,7")
    assert found["right"] is True
    assert {"table.weight", "norm.weight", "head.weight"} <= found["errors"].keys()
    Path("rows.txt").write_text("5,1,7\n2 2\n")
    assert "expected rows of one length, came 2, 3 tokens" in sentence(capsys, "check", path, "--tokens", "rows.txt")


def test_tokens_in_python() -> None:
    network = imported(Bag(), "good", "bad", "dull")
    both = token_saliency(network, torch.tensor([TOKENS, [0, 0, 2]]), torch.tensor([2, 0]))
    assert both.targets == ["dull", "good"]
    alone = token_saliency(network, torch.tensor([TOKENS]), "dull")
    torch.testing.assert_close(both.weights[0], alone.weights[0])
    with pytest.raises(ShapeError, match=r"whole numbers, came 1 x 2 of torch\.float32"):
        token_saliency(network, torch.zeros(1, 2))
    with pytest.raises(SettingError, match="takes no tokens"):
        token_saliency(small(), torch.tensor([[1, 2]]))
