"""Networks as torch modules, whose backward passes under autograd are the blocks' own.

Each call of a block is a function of its own to autograd, rather than the whole network one: then autograd frees what
forward saved as it goes back, each part has its own train() and eval(), and parts take hooks and can be replaced.
"""

import copy
import functools
import itertools
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from blockprop.engine.about import require_sizes
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.passes import run_forward
from blockprop.engine.plan import ForwardStep, Node, plan_forward
from blockprop.engine.room import room_of
from blockprop.errors import GraphError, ShapeError
from blockprop.interop.nesting import substituted


def to_torch(network: Network | Block, share: bool = False) -> nn.Module:
    """A torch module that computes what the network does, and trains under autograd with the blocks' backward passes.

    Inputs are taken, and outputs returned, in the order of `network.inputs` and `network.outputs`; a single output as a
    tensor, several as a tuple. `state_dict()` has the names of `network.state`. Like every module it starts in training
    mode; after `eval()` it equals `network(x)`. A part can be frozen, switched by train() and eval(), given hooks, or
    replaced by another: module.get_submodule("layer1.0.conv1"). A block alone becomes a module by itself.

    share: use the network's own tensors, so that training the module trains the network; by default they are copied.
    Raises GraphError if a parameter has a name that torch's modules use themselves, and when autograd is to
    differentiate a backward pass (create_graph=True): blocks have no second derivatives.
    """
    return BlockModule(network, share) if isinstance(network, Block) else NetworkModule(network, share)


def frozen(module: nn.Module) -> set[str]:
    """Names of the parameters that the module does not train; one with several names has all of them here."""
    named = module.named_parameters(remove_duplicate=False)
    return {name for name, parameter in named if not parameter.requires_grad}


class BlockModule(nn.Module):
    """A block as a torch module. The block in it has no tensors; they are the module's."""

    def __init__(self, block: Block, share: bool = False):
        super().__init__()
        self._block = copy.copy(block)
        self._parameter_names, self._buffer_names = tuple(block.parameters), tuple(block.buffers)
        for name in (*self._parameter_names, *self._buffer_names):
            if hasattr(self, name):
                raise GraphError(f"a torch module cannot have a parameter called {name!r}; choose another name for it")
        for name, tensor in block.parameters.items():
            is_real = tensor.is_floating_point() or tensor.is_complex()
            self.register_parameter(name, nn.Parameter(_own(tensor, share), requires_grad=is_real))
        for name, tensor in block.buffers.items():
            self.register_buffer(name, _own(tensor, share))
        _put(self._block, zip((*self._parameter_names, *self._buffer_names), itertools.repeat(None)))
        if not share:  # a generator of random numbers, too, becomes the module's own
            self._block = copy.deepcopy(self._block)

    def forward(self, *inputs: Tensor) -> Any:
        """The block's output, or a tuple if it has several."""
        for x in inputs:
            if not isinstance(x, Tensor):
                raise ShapeError(f"expected torch tensors, came a {type(x).__name__}; torch.as_tensor makes one")
        parameters = [getattr(self, name) for name in self._parameter_names]
        buffers = [(name, getattr(self, name)) for name in self._buffer_names]
        block = self._block
        if parameters or buffers:  # a twin for each call, so that several threads can make them
            block = _put(copy.copy(block), buffers)
        training = self.training and block.has_training_mode
        return _BlockCall.apply(block, training, self._parameter_names, *inputs, *parameters)

    def _get_name(self) -> str:
        return type(self._block).__name__

    def extra_repr(self) -> str:
        """The block's settings."""
        return repr(self._block).removeprefix(self._get_name())[1:-1]


class NetworkModule(nn.Module):
    """A network as a torch module: a module for each block, at the path that its node's name is."""

    def __init__(self, network: Network, share: bool = False):
        super().__init__()
        self._inputs, self._outputs, self._sizes = network.inputs, network.outputs, network.meta.get("sizes", {})
        modules = {name: BlockModule(block, share) for name, block in network.unique_blocks.items()}
        owners = {id(block): name for name, block in network.unique_blocks.items()}
        for name, module in modules.items():
            _attach(self, name.split("."), module)
        self._paths = {node.name: tuple(owners[id(node.block)].split(".")) for node in network.nodes}
        bare = [Node(node.name, modules[owners[id(node.block)]]._block, node.inputs) for node in network.nodes]
        self._plan = plan_forward(bare, network.outputs, training=False)
        self._room = room_of(network.blocks.values())
        self._outline = plan_forward(network.weightless().nodes, network.outputs, False) if self._room else None

    def forward(self, *inputs: Tensor) -> Any:
        """The network's output, or a tuple if it has several."""
        if len(inputs) != len(self._inputs):
            expected = f"{len(self._inputs)} inputs ({', '.join(self._inputs)})"
            raise ShapeError(f"the network takes {expected}, not {len(inputs)}")
        values = dict(zip(self._inputs, inputs, strict=True))
        require_sizes(self._sizes, values)
        outline = self._outline
        call = self._room.require(outline, values, None, True, self._call) if self._room and outline else None
        values = run_forward(self._plan, values, call=call or self._call)
        outputs = tuple(values[name] for name in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _call(self, step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, None]:
        """The output of the module in place of the block; autograd keeps what it needs."""
        return self._part(self._paths[step.name])(*inputs), None

    def _part(self, path: tuple[str, ...]) -> Any:
        """The module there now. Not by getattr: a node may be called "to" or "half", like methods of modules."""
        module: Any = self
        for name in path:
            module = module._modules[name]
        return module


def _attach(module: Any, path: list[str], part: nn.Module) -> None:
    """Make `part` the submodule at the path; the parts of a mere container that stands there become its own."""
    for name in path[:-1]:
        module = module._modules.setdefault(name, nn.Module())
    container = module._modules.get(path[-1])
    part._modules.update(container._modules if container else {})
    module._modules[path[-1]] = part


@torch.inference_mode(False)
def _own(tensor: Tensor, share: bool) -> Tensor:
    return tensor.detach() if share else tensor.detach().clone()


def _put(block: Block, tensors: Iterable[tuple[str, Any]]) -> Block:
    for name, tensor in tensors:
        setattr(block, name, tensor)
    return block


class _BlockCall(torch.autograd.Function):
    """One call of a block. The tensors that it saves are autograd's to keep, which notices if one is changed since."""

    @staticmethod
    def forward(ctx: Any, block: Block, training: bool, names: tuple[str, ...], *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        count = len(tensors) - len(names)
        inputs, parameters = tensors[:count], tensors[count:]
        _put(block, zip(names, parameters, strict=True))
        mode = _without_autocast(tensors)
        if not isinstance(mode, nullcontext):
            inputs = _in_one_precision(inputs, parameters)
        with mode:
            output, saved = block.forward(*inputs, training=True) if training else block.forward(*inputs)
            if training:
                _remember(block, saved)
        if any(ctx.needs_input_grad):
            kept: list[Tensor] = [parameter.detach() for parameter in parameters]
            ctx.block, ctx.names = _put(block, zip(names, itertools.repeat(None))), names
            ctx.saved = substituted(saved, Tensor, functools.partial(_place, kept))
            ctx.save_for_backward(*kept)
        return output

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> Any:
        names, kept = ctx.names, ctx.saved_tensors
        edges = [node for node, _ in ctx.next_functions]
        wanted = [_is_wanted(*pair) for pair in zip(ctx.needs_input_grad[3:], edges, strict=True)]
        count = len(wanted) - len(names)
        d_inputs: Sequence[Tensor | None] = [None] * count
        gradients: dict[str, Tensor] = {}
        if any(d is not None for d in d_outputs):
            block = _put(copy.copy(ctx.block), zip(names, kept, strict=False)) if names else ctx.block
            saved = substituted(ctx.saved, _Place, lambda place: kept[place.index])
            d_output: Any = d_outputs if block.output_count > 1 else d_outputs[0]
            with torch.no_grad(), _without_autocast([d for d in d_outputs if d is not None]):
                if any(wanted[:count]) and any(wanted[count:]) and block.finds_both:
                    d_inputs, gradients = block.both(saved, d_output)
                else:
                    if any(wanted[:count]):
                        d_inputs = block.propagate(saved, d_output)
                    if any(wanted[count:]):
                        gradients = block.gradients(saved, d_output)
                gradients = _separate(gradients, (*d_outputs, *d_inputs))
        derivatives = [*d_inputs, *(gradients.get(name) for name in names)]
        derivatives = [d if is_wanted else None for d, is_wanted in zip(derivatives, wanted, strict=True)]
        if torch.is_grad_enabled():  # create_graph=True
            derivatives = [
                None if d is None else _Final.apply(d, torch.zeros((), requires_grad=True)) for d in derivatives
            ]
        return None, None, None, *derivatives


class _Final(torch.autograd.Function):
    """A derivative that cannot be differentiated. torch's once_differentiable would let it pass for a constant."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, _: Tensor) -> Tensor:  # noqa: ARG004, as torch calls it
        return d.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:  # noqa: ARG004
        raise GraphError("the backward passes of blocks cannot be differentiated once more (create_graph=True)")


class _Place:
    """Stands, in what a block saved, for a tensor that autograd keeps."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index


def _place(kept: list[Tensor], tensor: Tensor) -> _Place:
    kept.append(tensor.detach())  # without the history that an output is given later, which would be a cycle
    return _Place(len(kept) - 1)


def _is_wanted(is_needed: bool, node: Any) -> bool:
    """Whether this backward pass goes on to the node: that of autograd.grad(y, x) does not go on to the weights."""
    if not is_needed:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # so it is for the very leaves that autograd.grad was asked for
        return True


def _remember(block: Block, saved: Any) -> None:
    """Let the block take over what it has seen, into the module's own buffers."""
    before = block.buffers
    block.remember(saved)
    for name, buffer in before.items():
        if getattr(block, name) is not buffer:
            buffer.copy_(getattr(block, name))


def _separate(gradients: dict[str, Tensor], others: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """The gradients in memory of their own: torch keeps them as .grad, and adds to them in place."""
    taken = {d.untyped_storage().data_ptr() for d in others if d is not None}
    separate = {}
    for name, d in gradients.items():
        separate[name] = d.clone() if d.untyped_storage().data_ptr() in taken else d
        taken.add(separate[name].untyped_storage().data_ptr())
    return separate


def _without_autocast(tensors: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """Switches automatic mixed precision off, which would give a block's backward methods other types than forward."""
    device = tensors[0].device.type if tensors else "meta"
    is_on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if is_on else nullcontext()


def _in_one_precision(inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs in the parameters' precision, or without parameters in the highest of their own."""
    floats = [t.dtype for t in parameters if t.is_floating_point()][:1]
    floats = floats or [t.dtype for t in inputs if t.is_floating_point()]
    return tuple(x.to(functools.reduce(torch.promote_types, floats)) if x.is_floating_point() else x for x in inputs)
