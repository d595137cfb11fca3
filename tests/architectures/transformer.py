"""Encoders made of nn.TransformerEncoderLayer (Vaswani et al. 2017), norm last and norm first."""

import math

import torch
from torch import Tensor, nn

from tests.architectures.architecture import tokens

VOCABULARY = 50


def sinusoids(length: int, width: int) -> Tensor:
    """Section 3.5, (length, width)."""
    position = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


class Encoder(nn.Module):
    """Scores of a text; padding: 0 among the words is padding, which nothing attends to."""

    positions: Tensor

    def __init__(self, norm_first: bool, activation: str, padding: bool, width: int = 24, count: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.register_buffer("positions", sinusoids(64, width), persistent=False)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.1, activation=activation, batch_first=True, norm_first=norm_first
        )
        last = nn.LayerNorm(width) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, count, norm=last, enable_nested_tensor=False)
        self.head = nn.Linear(width, 4)
        self.padding = padding

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words) * math.sqrt(self.embedding.embedding_dim)
        x = x + self.positions[: words.size(1)]
        if self.padding:
            x = self.encoder(x, src_key_padding_mask=words == 0)
            kept = (words != 0).unsqueeze(-1).to(x.dtype)
            x = (x * kept).sum(1) / kept.sum(1)
        else:
            x = self.encoder(x).mean(1)
        return torch.log_softmax(self.head(x), dim=-1)


def padded(generator: torch.Generator) -> tuple[Tensor, ...]:
    """Two texts of 12 words, of which the second ends after 9."""
    words = torch.randint(1, VOCABULARY, (2, 12), generator=generator)
    words[1, 9:] = 0
    return (words,)


ARCHITECTURES = {
    "encoder": tokens(lambda: Encoder(False, "relu", padding=False), 12, VOCABULARY),
    "encoder_norm_first": tokens(lambda: Encoder(True, "gelu", padding=False), 12, VOCABULARY),
    "encoder_padded": tokens(lambda: Encoder(False, "relu", padding=True), 12, VOCABULARY, inputs=padded),
}
