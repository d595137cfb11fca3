"""torch.nn.Module -> Network, through torch.export: every operator that the module runs becomes a node."""

import copy
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from blockprop.errors import BlockpropError, SettingError, ShapeError, shape
from blockprop.importers.aten.interpret import Interpreter
from blockprop.importers.free_axes import Exported, export
from blockprop.importers.graph import Flow, Graph, Known
from blockprop.importers.problems import refuse
from blockprop.network import Network

HINT = "CONTRIBUTING.md says how to add one; with opaque=True torch's own backward pass is taken for them."
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 2e-1}
"""How far the network's outputs may be from the module's, relative to the largest: what is left are rounding errors."""


def from_torch(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    keywords: Mapping[str, Tensor] | None = None,
    *,
    training: bool | None = None,
    opaque: bool = False,
    free: bool = True,
) -> Network:
    """The network of blocks that computes what the module computes; the module stays as it is.

    One node for each call of an operator, however it is written: nn.ReLU, F.relu, x.relu_() and x.clamp(min=0) all
    give a ReLU. Nodes are named after the module's parts: "layer1.0.relu", "layer1.0.relu#2" for the second call.
    Weights are copied. network.meta["free"] says which axes of which input may have any size.

    example: an input, or several, as the module takes them; keywords: those that it takes by name.
    training: needed if a part of the module is in training mode. False imports it as in evaluation mode, True as in
        training (a branch for training only, for instance). Either way dropout and batch normalization act in `fit`.
    opaque: make operators without a block into Opaque blocks, whose backward pass is torch's own; a warning lists them.
    free: whether to look for axes that may vary; without, all sizes are those of the example.
    Raises UnsupportedError listing every operator without a block, ShapeError if the module refuses the example,
    SettingError for a module in training mode.
    """
    inputs = _inputs(module, example, keywords or {})
    twin = _twin(module, training)
    names = list(keywords or {})
    expected = [] if training else _outputs(twin, inputs, names)  # in training it would change running statistics
    try:
        exported = export(twin, inputs, dict.fromkeys(names), free)
    except BlockpropError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise SettingError(
            f"{type(module).__name__}: torch.export cannot read it ({reason}); control flow that depends on values has "
            "to be written with torch.where"
        ) from error
    network = _network(module, twin, exported, _input_names(module, inputs, names), opaque)
    if not training:
        _verify(module, network, inputs, expected)
    return network


def _inputs(module: nn.Module, example: Tensor | Sequence[Tensor], keywords: Mapping[str, Tensor]) -> list[Tensor]:
    if not isinstance(module, nn.Module):
        raise SettingError(f"expected a torch.nn.Module, came a {type(module).__name__}")
    positional = [example] if isinstance(example, Tensor) else list(example)
    for x in (*positional, *keywords.values()):
        if not isinstance(x, Tensor):
            raise SettingError(f"expected a tensor or several as the example, came a {type(x).__name__}")
    if not positional and not keywords:
        raise SettingError("expected an example input of the module, came none")
    return [x.detach() for x in (*positional, *keywords.values())]


def _twin(module: nn.Module, training: bool | None) -> nn.Module:
    """Another module with the same parameters, in the wanted mode: so the user's own is never touched."""
    parts = module.named_modules()
    in_training = [name or type(part).__name__ for name, part in parts if part.training and _has_mode(part)]
    if training is None and in_training:
        some = ", ".join(in_training[:3]) + ", …" * (len(in_training) > 3)
        raise SettingError(
            f"{type(module).__name__} is in training mode ({some}): call its eval() first or pass training=False to "
            "import it as it is in evaluation; pass training=True to import what it does in training"
        )
    try:
        twin = copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})
    except Exception as error:
        raise SettingError(f"{type(module).__name__} cannot be copied ({error})") from error
    for part in twin.modules():  # what was called with hooks must not call them
        for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks):
            hooks.clear()
    return twin.train(bool(training))


def _has_mode(part: nn.Module) -> bool:
    """Whether the module itself does something else in training: by its type, or because its code asks."""
    if isinstance(part, _BatchNorm):
        return part.track_running_stats
    if isinstance(part, _DropoutNd):
        return part.p > 0
    if type(part).__module__.startswith("torch.nn"):
        return getattr(part, "dropout", 0) not in (0, 0.0)
    try:
        return "training" in inspect.getsource(type(part).forward)
    except (OSError, TypeError):
        return True


def _outputs(twin: nn.Module, inputs: list[Tensor], names: list[str]) -> list[Tensor]:
    """What the module gives for the example."""
    count = len(inputs) - len(names)
    given = [x.clone() for x in inputs]
    keywords = dict(zip(names, given[count:], strict=True))
    try:
        with torch.no_grad():
            found = twin(*given[:count], **keywords)
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        shapes = " and ".join(shape(x) for x in inputs)
        raise ShapeError(f"{type(twin).__name__} refuses the example of {shapes} ({reason})") from error
    return [y for y in torch.utils._pytree.tree_leaves(found) if isinstance(y, Tensor)]


def _input_names(module: nn.Module, inputs: list[Tensor], names: list[str]) -> list[str]:
    count = len(inputs) - len(names)
    own = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ][:count]
    own += [f"x{i}" for i in range(len(own), count)]
    taken = {name for name, _ in module.named_modules()} | {"inputs", "parameters"}
    return [f"{name}_in" if name in taken else name for name in (*own, *names)]


def _network(module: nn.Module, twin: nn.Module, exported: Exported, names: list[str], opaque: bool) -> Network:
    program = exported.program
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    signature = program.graph_signature
    own = set(signature.user_inputs)
    dtypes = [n.meta["val"].dtype for n in placeholders if n.name in own and isinstance(n.meta.get("val"), Tensor)]
    inputs = {
        name: tuple(torch.empty(size, dtype=dtype, device="meta") for size in trials)
        for name, trials, dtype in zip(names, exported.trials, dtypes, strict=True)
    }
    graph = Graph(inputs)
    known = _known_tensors(program, placeholders)
    flows = iter(graph.inputs.values())
    values = [
        known[node.name] if node.name in known else next(flows) if isinstance(node.meta.get("val"), Tensor) else None
        for node in placeholders
    ]
    interpreter = Interpreter(graph, {name for name, part in twin.named_modules() if _is_leaf(part)}, opaque)
    found = interpreter.run(program.graph, values)
    if interpreter.problems:
        raise refuse(type(module).__name__, interpreter.problems, HINT)
    if interpreter.opaque_names:
        warnings.warn(f"opaque, with torch's own backward pass: {', '.join(interpreter.opaque_names)}", stacklevel=3)
    outputs = found[-len(signature.user_outputs) :] if signature.user_outputs else []
    wanted = [graph.lift(value) for value in outputs if isinstance(value, Flow | Known)]
    return _with_meta(graph.network(wanted, {}), graph, module, exported, names)


def _is_leaf(part: nn.Module) -> bool:
    return not list(part.children()) and type(part).__module__.startswith("torch.nn")


def _with_meta(network: Network, graph: Graph, module: nn.Module, exported: Exported, names: list[str]) -> Network:
    network.meta["source"] = {"format": "torch", "class": type(module).__name__}
    network.meta["free"] = {
        name: [axis for axis, (a, b) in enumerate(zip(*trials, strict=True)) if a != b]
        for name, trials in zip(names, exported.trials, strict=True)
    }
    network.meta["shape"] = list(exported.trials[0][0][1:])
    renamed = {own: theirs for own, theirs in graph.parameter_names.items() if own != theirs}
    if renamed:
        network.meta["parameter_names"] = renamed
    return network


def _known_tensors(program: torch.export.ExportedProgram, placeholders: Sequence[Any]) -> dict[str, Known]:
    """Parameters, buffers and constants by the name of their placeholder; tied ones once."""
    signature = program.graph_signature
    constants = signature.inputs_to_lifted_tensor_constants
    titles = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **constants}
    found: dict[str, Known] = {}
    by_tensor: dict[int, Known] = {}
    for node in placeholders:
        if node.name not in titles:
            continue
        title = titles[node.name]
        tensor = program.state_dict[title] if title in program.state_dict else program.constants[title]
        trained = node.name in signature.inputs_to_parameters
        one = by_tensor.setdefault(id(tensor), Known(tensor.detach(), title, trained))
        found[node.name] = one
    for one in by_tensor.values():
        users = {_use(user, node) for node in placeholders if found.get(node.name) is one for user in node.users}
        one.tied = len(users) > 1 and one.trained
    return found


def _use(user: Any, weight: Any) -> str:
    """What an operator does with a weight: its name and all that it takes but the weight's input."""
    rest = [str(a) for a in user.args if a is weight or not hasattr(a, "users") or a.op == "placeholder"]
    return f"{user.target} {rest} {user.kwargs}"


def _verify(module: nn.Module, network: Network, inputs: list[Tensor], expected: list[Tensor]) -> None:
    """Compare with the module on the example: an importer that is wrong must not be so silently."""
    found = network(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    for name, mine, theirs in zip(network.outputs, found, expected, strict=True):
        if mine.shape != theirs.shape:
            raise BlockpropError(f"the imported {name} is {shape(mine)}, {type(module).__name__} gives {shape(theirs)}")
        mine, theirs = (y.double().nan_to_num(1e30, 1e30, -1e30) for y in (mine, theirs))
        scale = max(theirs.abs().max().item(), 1e-30) if theirs.numel() else 1.0
        error = (mine - theirs).abs().max().item() / scale if theirs.numel() else 0.0
        if error > TOLERANCE.get(expected[0].dtype, 1e-4):
            raise BlockpropError(
                f"the imported {name} differs from what {type(module).__name__} gives by {error:.2g} of the largest "
                "value: this is an error of the importer, please report it"
            )
