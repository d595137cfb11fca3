"""What can be seen of a trained network, section by section of a report."""

import math
from collections.abc import Sequence

import torch
from markupsafe import Markup
from torch import Tensor

from blockprop.data.dataset import Dataset
from blockprop.engine.check import CheckReport
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, binary_cross_entropy
from blockprop.reports.curves import learning_curves
from blockprop.reports.diagram import diagram
from blockprop.reports.figures import png, svg
from blockprop.reports.page import Picture, Section
from blockprop.reports.plots import (
    confusion_matrix,
    predicted_against_true,
    representations,
    saliency_sheet,
    weight_pictures,
)
from blockprop.training.evaluation import predict
from blockprop.training.run import Record

EXAMPLES = 256
"""At most so many examples go into the diagram's mean sizes."""


def sections(
    network: Network,
    records: Sequence[Record],
    data: Dataset,
    objective: Objective,
    seen: bool = False,
    note: str = "",
    quality: Sequence[Section] = (),
) -> list[Section]:
    """All sections that these data allow, in the order in which one reads them.

    records: of the training, if any.   seen: whether the network was trained on these data.
    note: see learning_section.   quality: sections about how good it is.
    """
    parts = [
        learning_section(records, note) if records else None,
        *quality,
        confusion_section(network, data, seen) if data.classes else None,
        predicted_section(network, data) if predicts_numbers(data, objective) else None,
        saliency_section(network, data),
        hidden_section(network, data),
        diagram_section(network, data, objective),
    ]
    return [section for section in parts if section is not None]


def learning_section(records: Sequence[Record], note: str = "") -> Section:
    """The learning curves. note: a sentence about what validated them."""
    text = Markup(
        "Each step takes one mini-batch through the network, and back: "
        "<i>W</i> ← <i>W</i> − <i>μ</i> ∂<i>L</i>/∂<i>W</i>. Faint: the loss of each batch; strong: of each epoch, "
        "or a running mean. "
    )
    return Section("Learning", text + note, [Picture(svg(learning_curves(records)))])


def confusion_section(network: Network, data: Dataset, seen: bool = False) -> Section:
    """Which class is taken for which. seen: whether the network was trained on these data."""
    assert data.y is not None
    assert data.classes is not None
    predicted = predict(network, data.x).argmax(1)
    which = "was trained on" if seen else "has never seen"
    text = f"{len(data)} examples that the network {which}. Rows: the truth. Columns: what the network says."
    return Section("Confusion matrix", text, [Picture(svg(confusion_matrix(data.y, predicted, data.classes)))])


def predicts_numbers(data: Dataset, objective: Objective) -> bool:
    """Whether the targets are numbers, and not classes or yes/no answers."""
    return data.y is not None and data.classes is None and not isinstance(objective, binary_cross_entropy)


def predicted_section(network: Network, data: Dataset) -> Section:
    """Predicted numbers against the true ones."""
    text = "Each point is an example, in the data's own units. On the dashed line the network is right."
    return Section("Predicted against true", text, [Picture(predicted_figure(network, data))])


def predicted_figure(network: Network, data: Dataset) -> str:
    """The same as an SVG file's text."""
    assert data.y is not None
    return svg(predicted_against_true(data.y, predict(network, data.x)))


def diagram_section(network: Network, data: Dataset, objective: Objective) -> Section:
    """The dataflow diagram with the mean size of values and of ∂L/∂value at each node."""
    picture = diagram_with_sizes(network, data, objective)
    text = Markup(
        "Forward: values flow down along the arrows. Backward: the error ∂<i>L</i>/∂<i>y</i> flows up, block by block. "
        "The bars show the mean size of both at each block, on a logarithmic scale: here one sees gradients vanish or "
        "explode."
    )
    return Section("The network as a dataflow graph", text, [Picture(picture)])


@torch.no_grad()
def diagram_with_sizes(network: Network, data: Dataset, objective: Objective | None) -> str:
    """The diagram as SVG; with an objective and labels also the sizes of the gradients."""
    x = fitting(data.x[:EXAMPLES], network)
    trace = network.forward(x)
    gradients = None
    if objective is not None and data.y is not None:
        _, seeds = objective.evaluate(trace.outputs, data.y[:EXAMPLES].to(x.device))
        gradients = network.backward(trace, seeds, wrt=network.keys)
    return diagram(network, trace, gradients)


def hidden_section(network: Network, data: Dataset) -> Section | None:
    """The last hidden layer's activations in two dimensions, and the first layer's weights as pictures."""
    pictures = []
    name = last_hidden(network, data)
    if name is not None and data.y is not None and data.classes is not None:
        hidden = Network(network.nodes, network.inputs, (name,))
        figure = representations(predict(hidden, data.x).flatten(1), data.y, data.classes)
        pictures.append(Picture(svg(figure), f"Activations of {name} along their two principal axes"))
    seen = first_weights(network, data.shape)
    if seen is not None:
        title, weight = seen
        shape = None if weight.dim() == 4 else data.shape
        pictures.append(
            Picture(png(weight_pictures(weight[:64].cpu(), shape)), f"Weights of {title}, one picture a unit")
        )
    if not pictures:
        return None
    text = (
        "What the hidden units have learned to represent. Examples of one class lie together after the last hidden "
        "layer, so that a linear map can tell the classes apart. In the first layer each unit looks for the pattern of "
        "its weights: red counts for it, blue against."
    )
    return Section("Hidden representations", text, pictures)


def last_hidden(network: Network, data: Dataset) -> str | None:
    """The last activation before the outputs that gives more than two numbers per example; dropout is none."""
    x = fitting(data.x[:2], network)
    trace = network.forward(x)
    for node in reversed(network.nodes):
        is_hidden = node.name not in network.outputs and node.block.kind == "activation" and not node.block.pools
        if is_hidden and trace.values[node.name][0].numel() > 2:
            return node.name
    return None


def first_weights(network: Network, shape: Sequence[int]) -> tuple[str, Tensor] | None:
    """(name, weight) of the first block that looks at pictures of c × h × w, if its weights make pictures."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    for name, parameter in network.parameters.items():
        if parameter.dim() == 2 and parameter.shape[1] == math.prod(shape):
            return name, parameter
        if parameter.dim() == 4 and parameter.shape[1] == shape[0] and min(parameter.shape[2:]) > 1:
            return name, parameter
        if parameter.dim() >= 2:
            return None
    return None


@torch.no_grad()
def saliency_maps(network: Network, x: Tensor, classes: Tensor) -> Tensor:
    """|∂S_c/∂x|, the largest over the channels: (n, h, w) for x: (n, c, h, w) and one class each, S before softmax.

    Source: Simonyan, Vedaldi, Zisserman 2013, section 3.1.
    """
    x = fitting(x, network)
    trace = network.forward(x, keep=network.outputs)
    seed = torch.zeros_like(trace.output).scatter_(1, classes.to(x.device).unsqueeze(1), 1.0)
    return network.backward(trace, seed, wrt="inputs")[network.inputs[0]].abs().amax(1)


def saliency_section(network: Network, data: Dataset) -> Section | None:
    """One picture of each class with its map ∂S_c/∂x."""
    if len(data.shape) != 3 or data.y is None or data.classes is None:
        return None
    rows = torch.tensor([int((data.y == c).nonzero()[0]) for c in range(len(data.classes)) if (data.y == c).any()][:10])
    x, y = data.x[rows], data.y[rows]
    maps = saliency_maps(network, x, y).cpu()
    picture = Picture(png(saliency_sheet(x, maps, [data.classes[int(c)] for c in y])))
    text = Markup(
        "With all weights fixed, the same back-propagation runs on to the input: |∂<i>S<sub>c</sub></i>/∂<i>x</i>| "
        "says how much each pixel moves the score <i>S<sub>c</sub></i> of the class <i>c</i> (Simonyan et al. 2013)."
    )
    return Section("Saliency", text, [picture])


def check_section(report: CheckReport) -> Section:
    """Backward against finite differences, tensor by tensor."""
    text = Markup(
        "Every element of every gradient of the trained network, from the backward pass and from differences "
        "(<i>L</i>(<i>w</i> + <i>ε</i>) − <i>L</i>(<i>w</i> − <i>ε</i>)) / 2<i>ε</i> with <i>ε</i> = 10<sup>−6</sup>, "
        "in float64. The error is given in units of the typical (root mean square) size of the tensor's gradient."
    )
    rows = [["tensor", "elements", "at kinks", "worst error", "backward", "differences"]]
    for c in report.comparisons:
        rows.append([c.name, str(c.elements), str(c.kinks), f"{c.error:.1e}", f"{c.explicit:.9g}", f"{c.numeric:.9g}"])
    return Section("Gradient check", text, [], rows)
