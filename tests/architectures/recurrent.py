"""Classifiers of texts: a bidirectional LSTM (Hochreiter and Schmidhuber 1997) and a GRU (Cho et al. 2014)."""

import torch
from torch import Tensor, nn

from tests.architectures.architecture import tokens

VOCABULARY = 40


class LSTMClassifier(nn.Module):
    """Embedding, LSTM in both directions, the last state of each."""

    def __init__(self, width: int = 12, hidden: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words)
        _, (h, _) = self.lstm(x)
        x = torch.cat((h[-2], h[-1]), dim=1)
        return self.fc(self.dropout(x))


class GRUClassifier(nn.Module):
    """(length, batch) words, two layers of GRU, the output at the last word."""

    def __init__(self, width: int = 12, hidden: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.gru = nn.GRU(width, hidden, num_layers=2, dropout=0.2)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, words: Tensor) -> Tensor:
        outputs, _ = self.gru(self.embedding(words))
        return self.fc(outputs[-1])


ARCHITECTURES = {
    "lstm": tokens(LSTMClassifier, 10, VOCABULARY),
    "gru": tokens(GRUClassifier, 10, VOCABULARY, axes=("length", "batch")),
}
