"""Handlers of what prepares a table's columns in ai.onnx.ml: filling gaps, categories, choosing and joining columns."""

from collections.abc import Sequence
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall, Texts
from blockprop.importers.onnx_operators.scores import ML, labelled
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.onnx_tensors import tensor_of


@operator("ArrayFeatureExtractor", 1, domain=ML)
def array_feature_extractor(call: OnnxCall, x: Any, places: Input) -> Any:
    """Some columns: those with these numbers along the last axis."""
    values = x.codes if isinstance(x, Texts) else x
    chosen = call.add(blocks.Reshape((-1,), 0), places, part="places") if places.axes != 1 else places
    y = call.add(blocks.Gather(-1), values, chosen, part="chosen" if values.axes == 1 else "")
    y = call.add(blocks.Unsqueeze((0,)), y) if values.axes == 1 else y  # a vector counts as a row
    if isinstance(x, Texts):
        call.state.classes = list(x.names or ())
        return Texts(y, x.names)
    return y


@operator("FeatureVectorizer", 1, domain=ML)
def feature_vectorizer(call: OnnxCall, *x: Input, inputdimensions: list[int] | None = None) -> Any:
    """The inputs side by side, as float32."""
    columns = [
        value if value.dtype == torch.float32 else call.add(blocks.Cast("float32"), value, part="real") for value in x
    ]
    if any(value.axes != 2 for value in columns):
        raise UnsupportedError("features that are no rows of columns")
    return columns[0] if len(columns) == 1 else call.add(blocks.Concat(1), *columns)


@operator("Binarizer", 1, domain=ML)
def binarizer(call: OnnxCall, x: Input, *, threshold: float) -> Any:
    above = call.add(blocks.Compare("greater", threshold), x, part="above")
    return call.add(blocks.Cast(name_of(x.dtype)), above)


@operator("Imputer", 1, domain=ML)
def imputer(
    call: OnnxCall,
    x: Input,
    *,
    imputed_value_floats: list[float] | None = None,
    imputed_value_int64s: list[int] | None = None,
    replaced_value_float: float,
    replaced_value_int64: int,
) -> Any:
    """A number of its own for each column (or one for all) in place of what stands for a gap, usually NaN."""
    is_real = x.dtype.is_floating_point
    values: Sequence[float] | None = imputed_value_floats if is_real else imputed_value_int64s
    if not values:
        raise GraphError(f"it has no values to put into columns of the type {name_of(x.dtype)}")
    gap: float = replaced_value_float if is_real else replaced_value_int64
    row = Known(torch.tensor(values, dtype=x.dtype), f"{call.name}.values")
    operands = (x, x) if gap != gap else (x,)
    compare = blocks.Compare("not_equal") if gap != gap else blocks.Compare("equal", gap)
    return call.add(blocks.Where(), call.add(compare, *operands, part="gap"), row, x)


@operator("OneHotEncoder", 1, domain=ML)
def one_hot_encoder(
    call: OnnxCall,
    x: Any,
    *,
    cats_int64s: list[int] | None = None,
    cats_strings: list[str] | None = None,
    zeros: int,
) -> Any:
    """A column for each category, 1 where x is this category; another one gives a row of zeros."""
    codes, keys = _codes(call, x, cats_int64s, cats_strings)
    column = call.add(blocks.Unsqueeze((codes.axes,)), codes, part="column")
    hits = call.add(blocks.Compare("equal"), column, Known(keys.to(codes.dtype)), part="hits")
    if not zeros:
        call.note("strict in its file, and here gives a row of zeros for a category that it does not know")
    return call.add(blocks.Cast("float32"), hits)


def _codes(call: OnnxCall, x: Any, numbers: Sequence[int] | None, texts: Sequence[str] | None) -> tuple[Any, Tensor]:
    """(numbers to look for, the numbers of the entries of a table) from numbers or texts."""
    if isinstance(x, Texts):
        if not texts:
            raise GraphError("it looks texts up in a table of numbers")
        return x.codes, torch.tensor([call.state.code_of(x, text) for text in texts])
    if not numbers:
        raise GraphError("it looks numbers up in a table of texts")
    return x, torch.tensor(numbers)


@operator("LabelEncoder", 1, domain=ML)
def label_encoder_by_place(
    call: OnnxCall, x: Any, *, classes_strings: list[str], default_int64: int, default_string: str
) -> Any:
    """Texts to their places in a list, or places to texts."""
    if isinstance(x, Texts):
        return _looked_up(call, x, classes_strings, None, torch.arange(len(classes_strings)), default_int64)
    return labelled(call, x, None, classes_strings)


@operator("CategoryMapper", 1, domain=ML)
def category_mapper(
    call: OnnxCall,
    x: Any,
    *,
    cats_int64s: list[int],
    cats_strings: list[str],
    default_int64: int,
    default_string: str,
) -> Any:
    """Texts to numbers, or numbers to texts."""
    if isinstance(x, Texts):
        return _looked_up(call, x, cats_strings, None, torch.tensor(cats_int64s), default_int64)
    return _to_texts(call, x, torch.tensor(cats_int64s), cats_strings, default_string)


@operator("LabelEncoder", 2, 4, domain=ML)
def label_encoder(
    call: OnnxCall,
    x: Any,
    *,
    keys_floats: list[float] | None = None,
    keys_int64s: list[int] | None = None,
    keys_strings: list[str] | None = None,
    keys_tensor: TensorProto | None = None,
    values_floats: list[float] | None = None,
    values_int64s: list[int] | None = None,
    values_strings: list[str] | None = None,
    values_tensor: TensorProto | None = None,
    default_float: float,
    default_int64: int,
    default_string: str,
    default_tensor: TensorProto | None = None,
) -> Any:
    """Each key's value, or the default."""
    key_texts, keys = _entries(call, keys_tensor, keys_strings, keys_int64s, keys_floats)
    texts, values = _entries(call, values_tensor, values_strings, values_int64s, values_floats)
    if texts is not None:
        if isinstance(x, Texts):
            raise UnsupportedError("texts for texts")
        return _to_texts(call, x, keys, texts, default_string)
    default: Any = default_float if values.is_floating_point() else default_int64
    if default_tensor is not None:
        default = tensor_of(default_tensor, call.state.folder).item()
    return _looked_up(call, x, key_texts, keys, values, default)


def _entries(
    call: OnnxCall,
    tensor: TensorProto | None,
    texts: Sequence[str] | None,
    whole: Sequence[int] | None,
    real_numbers: Sequence[float] | None,
) -> tuple[Sequence[str] | None, Tensor]:
    """A table's column in one of its forms: (texts, or None; numbers)."""
    if tensor is not None and tensor.data_type == TensorProto.STRING:
        texts = [text.decode(errors="replace") for text in tensor.string_data]
    elif tensor is not None:
        return None, tensor_of(tensor, call.state.folder).reshape(-1)
    if texts is not None:
        return texts, torch.arange(len(texts))
    if whole is not None:
        return None, torch.tensor(whole)
    return None, torch.tensor(real_numbers or [], dtype=torch.float32)


def _looked_up(
    call: OnnxCall, x: Any, texts: Sequence[str] | None, keys: Tensor | None, values: Tensor, default: float
) -> Any:
    """values[i] where x is the key i, else the default."""
    codes, known = (x, keys) if keys is not None and texts is None else _codes(call, x, None, texts)
    if isinstance(codes, Texts) or known is None or len(known) != len(values):
        raise GraphError("its keys and values do not fit each other, or its input")
    table = Known(torch.cat([values, values.new_tensor([default])]))
    return call.add(blocks.Gather(0), table, _place(call, codes, known))


def _place(call: OnnxCall, codes: Input, keys: Tensor) -> Any:
    """The place of each code among the keys, and one more for a code that is none."""
    if keys.dtype.is_floating_point and bool(keys.isnan().any()):
        raise UnsupportedError("NaN as a key")
    column = call.add(blocks.Unsqueeze((codes.axes,)), codes, part="column")
    hits = call.add(blocks.Compare("equal"), column, Known(keys.to(codes.dtype)), part="hits")
    row = call.add(blocks.Cast("float32"), hits, part="row")
    # Half a hit, which is more than none and less than one.
    half = call.add(blocks.Affine(0.0, 0.5), call.add(blocks.Slice(-1, 0, 1), row, part="first"), part="half")
    both = call.add(blocks.Concat(-1), row, half, part="rows")
    return call.add(blocks.ArgMax(-1), both, part="place")


def _to_texts(call: OnnxCall, x: Any, keys: Tensor, texts: Sequence[str], default: str) -> Texts:
    """Numbers to texts, which are told by their places."""
    call.state.classes = list(texts)
    if keys.tolist() == list(range(len(texts))):
        return Texts(x, tuple(texts))
    return Texts(_place(call, x, keys), (*texts, default))


@operator("ZipMap", 1, domain=ML)
def zip_map(
    call: OnnxCall,
    x: Input,
    *,
    classlabels_int64s: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
) -> Any:
    """A table of scores by label for each row, in its file; here the scores, in the order of the labels."""
    call.state.classes = list(map(str, classlabels_int64s or classlabels_strings or ()))
    call.note("a dictionary of scores for each row in its file, and here one row of scores in the order of the classes")
    return x
