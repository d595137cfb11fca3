"""Decision trees: ties with a threshold, and what training does to leaves."""

import torch

from blockprop import Network, fit, mean_squared_error
from blockprop.data.dataset import Dataset
from blockprop.engine.plan import Node
from tests.cases.trees import ROOTS, TREES, ensemble, leaf_of


def test_a_number_that_equals_the_threshold_goes_where_the_node_says() -> None:
    block = ensemble(1)
    x = torch.tensor([[0.1, 0.5, -0.3, 0.0], [0.2, 0.5, -0.3, 0.0], [0.1, 0.4, -0.3, 0.1]])
    thresholds = block.threshold.tolist()
    expected = [[leaf_of(row, root, thresholds) for root in ROOTS] for row in x.tolist()]
    assert block._leaves(x).tolist() == expected
    assert len({tuple(leaves) for leaves in expected}) == 3
    assert [node[1] for node in TREES] == [0.1, -0.3, 0.5, 0.0]  # the thresholds that the rows sit at


def test_training_finds_the_mean_of_each_leaf() -> None:
    block = ensemble(1)
    block.roots, block.trees = block.roots[:1], 1
    x, generator = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    target = torch.randn(200, 1, generator=generator)
    network = Network([Node("trees", block, ("x",))])
    fit(network, Dataset(x, target), mean_squared_error(), epochs=300, rate=0.3, batch_size=200, momentum=0).finish()
    leaves = block._leaves(x)[:, 0]
    for leaf in leaves.unique().tolist():
        torch.testing.assert_close(block.values[leaf], target[leaves == leaf].mean(0), rtol=1e-3, atol=1e-3)
