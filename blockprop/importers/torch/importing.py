"""One import of a torch module: exported, interpreted, compared with the module, with as many free axes as hold."""

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from blockprop.engine.about import About, sizes_of
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, GraphError, SettingError, ShapeError, UnsupportedError
from blockprop.importers.graph import Flow, Graph, Known
from blockprop.importers.problems import unsupported
from blockprop.importers.torch.axis_groups import Axis, TrialSizes
from blockprop.importers.torch.comparing import difference_of, notes_of_functions
from blockprop.importers.torch.exporting import Exporter
from blockprop.importers.torch.fixed_axes import FixedAxes
from blockprop.importers.torch.free_axes import Exported, Freedom, export
from blockprop.importers.torch.interpret import TorchInterpreter
from blockprop.importers.torch.naming import reason_of
from blockprop.importers.torch.other_mode import OtherMode, left_out
from blockprop.importers.torch.twin import Twin, settled
from blockprop.interop.modules import frozen

HINT = "CONTRIBUTING.md says how to add one; with opaque=True torch's own backward pass is taken for them."


def imported(
    module: nn.Module, training: bool | None, inputs: list[Tensor], names: list[str], opaque: bool, free: bool
) -> tuple[Network, list[str], str]:
    """(network, names of its opaque nodes, what is to be said of the twin); random numbers go on as before."""
    used = {x.device for x in inputs if x.is_cuda}
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng([device.index for device in used]):
        twin, expected, words = settled(Twin(module, training), inputs, names)
        network, opaque_names = Importer(module, twin, inputs, expected, names, opaque).run(free)
        if notes := notes_of_functions(network, twin, inputs, names):
            network.meta["notes"] = [*network.meta.get("notes", []), *notes]
    return network, opaque_names, words


class Importer:
    """One import, with as many free axes as can be had."""

    def __init__(
        self,
        module: nn.Module,
        twin: Twin,
        inputs: list[Tensor],
        expected: list[Tensor],
        names: list[str],
        opaque: bool,
    ):
        self.module, self.twin, self.inputs, self.expected = module, twin, inputs, expected
        self.names, self.opaque = names, opaque
        self.parts = twin.parts()
        self.training = any(part.training for part in self.parts.values())
        self.exporter = Exporter(twin, inputs, names, len(expected))
        self.fixed, self.banned = FixedAxes(), set[Axis]()
        self.other_mode = OtherMode(module, self.training, inputs, names)

    def run(self, free: bool) -> tuple[Network, list[str]]:
        """(network, names of its opaque nodes); with fewer free axes if that proves wrong, or cannot be had."""
        attempts = list(Freedom) if free else [Freedom.NOTHING]
        while attempts:
            exported = self._export(attempts[0])
            self.fixed.note(exported.wanted, exported.reasons)
            try:
                network, opaque_names = self._network(exported)
            except (GraphError, UnsupportedError) as error:
                if not exported.has_free_axes:
                    raise
                self.fixed.note(exported.free, str(error))
                attempts.pop(0)
                continue
            difference = "" if self.training else difference_of(network, self.inputs, self.expected)
            if difference and not exported.has_free_axes:
                name = type(self.module).__name__
                raise BlockpropError(
                    f"{name}: {difference}; this is an error of the importer, or {name} gives something else each time"
                )
            if not difference and (not exported.has_free_axes or self._holds(network, exported)):
                if notes := [*self.fixed.notes(network.inputs, self.inputs, exported.free), *left_out(self.module)]:
                    network.meta["notes"] = notes
                return network, opaque_names
            if difference and (resized := exported.resized(self.inputs)):
                self.banned.update(resized)
                self._fix(exported, list(resized), difference)
                continue
            if difference or not self.banned.intersection(exported.free):
                self.fixed.note(exported.free, difference)
                attempts.pop(0)
        raise AssertionError("the last attempt has no free axes")

    def _export(self, freedom: Freedom) -> Exported:
        try:
            return export(self.exporter, freedom, self.banned)
        except BlockpropError:
            raise
        except Exception as error:
            raise SettingError(
                f"{type(self.module).__name__}: torch.export cannot read it ({reason_of(error)}){self._about_hooks()}; "
                "control flow that depends on values has to be written with torch.where"
            ) from error

    def _about_hooks(self) -> str:
        hooks = self.twin.hooks
        return f"; it gives something else without the hooks of {', '.join(hooks[:5])}" if hooks else ""

    def _network(self, exported: Exported) -> tuple[Network, list[str]]:
        program, signature = exported.program, exported.program.graph_signature
        names = _input_names(self.module, self.inputs, self.names)
        placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
        graph = Graph(
            {
                name: tuple(torch.empty(size, dtype=x.dtype, device="meta") for size in trials)
                for name, trials, x in zip(names, exported.trials, self.inputs, strict=True)
            }
        )
        graph.norm_by_input = self.other_mode.by_input
        weights = _known_tensors(exported, placeholders)
        flows = iter(graph.inputs.values())
        arguments = [node for node in placeholders if node.name in signature.user_inputs]
        inputs = {node.name: next(flows) for node in arguments if isinstance(node.meta.get("val"), Tensor)}
        values = [weights.get(node.name) or inputs.get(node.name) for node in placeholders]
        leaves = {name for name, part in self.parts.items() if _is_leaf(part)}
        interpreter = TorchInterpreter(graph, leaves, self.opaque, exported.explanations.formulas, self.training)
        results = interpreter.run(program.graph, values)
        if interpreter.problems:
            raise unsupported(type(self.module).__name__, interpreter.problems, HINT)
        results = results[-len(signature.user_outputs) :] if signature.user_outputs else []
        outputs = [graph.lift(value) for value in results if isinstance(value, Flow | Known)]
        network = graph.network(outputs, {}).to(self.inputs[0].device)
        network.meta.update(_meta(self.module, network, graph, exported, names))
        return network, interpreter.opaque_names

    def _holds(self, network: Network, exported: Exported) -> bool:
        """Whether the network equals the module at other sizes, too; axes where it does not are fixed from then on."""
        if self.training:
            return True
        for sizes in exported.others:
            difference = self._difference_at(network, sizes)
            if difference:
                self._fix(exported, exported.free, difference)
                return False
            if difference is not None:
                break
        for sizes in exported.tipping:
            difference = self._difference_at(network, sizes)
            if difference:
                changed = [axis for axis in exported.free if sizes[axis.input][axis.axis] != exported.at(axis)]
                self.banned.update(changed)
                self._fix(exported, changed, difference)
                return False
        return True

    def _fix(self, exported: Exported, axes: Sequence[Axis], difference: str) -> None:
        """Note that these axes do not vary, since the network differs from the module at another size."""
        place = self.exporter.deciding(exported.sizes)
        decided = f"; the module decides by a size at {place}" if place else ""
        self.fixed.note(axes, f"at another size {difference}{decided}")

    def _difference_at(self, network: Network, sizes: TrialSizes) -> str | None:
        """How the network differs from the module at these sizes; None if the module refuses them."""
        others = [_resized(x, size) for x, size in zip(self.inputs, sizes, strict=True)]
        try:
            expected = self.twin.outputs(others, self.names)
        except ShapeError:
            return None
        try:
            return difference_of(network, others, expected)
        except BlockpropError as error:
            return str(error)


def _input_names(module: nn.Module, inputs: list[Tensor], names: list[str]) -> list[str]:
    count = len(inputs) - len(names)
    positional = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ][:count]
    positional += [f"x{i}" for i in range(len(positional), count)]
    taken = {name for name, _ in module.named_modules()} | {"inputs", "parameters"}
    return [f"{name}_in" if name in taken else name for name in (*positional, *names)]


def _is_leaf(part: nn.Module) -> bool:
    return not {name for name, _ in part.named_children()} - {"parametrizations"} and type(part).__module__.startswith(
        "torch.nn"
    )


def _meta(module: nn.Module, network: Network, graph: Graph, exported: Exported, names: list[str]) -> About:
    meta: About = {
        "source": {"format": "torch", "class": type(module).__name__},
        "free": {
            name: [axis for axis, (a, b) in enumerate(zip(*trials, strict=True)) if a != b]
            for name, trials in zip(names, exported.trials, strict=True)
        },
        "sizes": {name: sizes_of(trials) for name, trials in zip(names, exported.trials, strict=True)},
        "shape": list(exported.trials[0][0][1:]),
    }
    theirs = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    theirs |= {name for name, _ in module.named_buffers(remove_duplicate=False)}
    titles = {here: name for here, name in graph.parameter_names.items() if name in theirs}
    untrained, trained = frozen(module), network.parameters.keys()
    uses = Counter(name for here, name in titles.items() if here in trained)
    if renamed := {here: name for here, name in titles.items() if here != name}:
        meta["parameter_names"] = renamed
    if computed := sorted(trained - titles.keys()):
        meta["computed"] = computed
    if fixed := sorted(here for here in trained & titles.keys() if titles[here] in untrained):
        meta["frozen"] = fixed
    if untied := sorted(name for name, count in uses.items() if count > 1):
        meta["untied"] = untied
    return meta


def _known_tensors(exported: Exported, placeholders: Sequence[Any]) -> dict[str, Known]:
    """Parameters, buffers and constants by the name of their placeholder; tied ones once."""
    program, signature = exported.program, exported.program.graph_signature
    constants = signature.inputs_to_lifted_tensor_constants
    titles = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **constants}
    by_placeholder: dict[str, Known] = {}
    by_tensor: dict[int, Known] = {}
    for node in placeholders:
        if node.name not in titles:
            continue
        title = titles[node.name]
        tensor = program.state_dict[title] if title in program.state_dict else program.constants[title]
        trained = node.name in signature.inputs_to_parameters
        by_placeholder[node.name] = by_tensor.setdefault(id(tensor), Known(tensor.detach(), title, trained))
    for weight in by_tensor.values():
        nodes = [node for node in placeholders if by_placeholder.get(node.name) is weight]
        weight.tied = weight.trained and len({_use(user, node) for node in nodes for user in node.users}) > 1
    return by_placeholder


def _use(user: Any, weight: Any) -> str:
    """What an operator does with a weight: its name and all that it takes but the weight's input."""
    rest = [str(a) for a in user.args if a is weight or not hasattr(a, "users") or a.op == "placeholder"]
    return f"{user.target} {rest} {user.kwargs}"


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """The tensor cut, or repeated, to another size."""
    for axis, (present, wanted) in enumerate(zip(x.shape, size, strict=True)):
        if present != wanted:
            x = x.index_select(axis, torch.arange(wanted, device=x.device) % present)
    return x
