"""Which operators of torch may be called by name, and with which arguments; all others are refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, FormatError, SettingError, ShapeError
from blockprop.interop.opaque import Opaque
from blockprop.interop.operators import operator_named
from blockprop.saving.storage import load, save

X, Y = {"input": 0}, {"input": 1}


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        ("aten.from_file.default", "known to check"),
        ("aten.add_.Tensor", "changes its arguments"),
        ("aten.add.out", "changes its arguments"),
        ("aten.set_.source_Tensor", "changes its arguments"),
        ("aten.resize.default", "known to check"),
        ("aten.embedding_dense_backward.default", "known to check"),
        ("aten._reshape_alias.default", "known to check"),
        ("aten.fbgemm_linear_int8_weight.default", "known to check"),
        ("aten.empty_like.default", "known to check"),
        ("aten.pin_memory.default", "known to check"),
        ("aten.bernoulli.default", "known to check"),
        ("aten.record_stream.default", "changes its arguments"),
        ("aten.item.default", "known to check"),
        ("aten.is_nonzero.default", "known to check"),
        ("aten.scalar_tensor.default", "known to check"),
        ("aten.add.int", "no kernel"),
        ("aten.to.device", "'device' is of the type"),
        ("aten.div.Tensor_mode", "'rounding_mode' is of the type"),
        ("aten.lcm.default", "known to check"),
        ("aten.pdist.default", "known to check"),
        ("aten._fft_r2c.default", "known to check"),
        ("aten.as_strided.default", "known to check"),
        ("aten.quantize_per_tensor.default", "known to check"),
        ("aten.native_batch_norm.default", "known to check"),
        ("aten.cumsum", "expected the name of an operator"),
        ("aten.cumsum.overloads", "no operator 'aten.cumsum.overloads'"),
        ("aten.cumsum.__class__", "no operator 'aten.cumsum.__class__'"),
        ("aten.__class__.mro", "no operator 'aten.__class__'"),
        ("aten.cumsun.default", "did you mean 'cumsum'"),
        ("quantized.add.default", "expected the name of an operator"),
        ("os.system.default", "expected the name of an operator"),
        ("aten.cumsum.default\n", "expected the name of an operator"),
        (["aten"], "expected the name of an operator"),
    ],
)
def test_operators_that_are_refused(operator: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=reason):
        Opaque(operator, [X])
    save(Sequential(Opaque("aten.cumsum.default", [X, 0])), tmp_path / "net")
    document = json.loads((tmp_path / "net" / "network.json").read_text())
    document["blocks"]["opaque1"]["settings"]["operator"] = operator
    (tmp_path / "net" / "network.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="opaque1"):
        load(tmp_path / "net", opaque=True)


def test_no_operator_of_torch_gets_through_that_could_do_more_than_compute() -> None:
    """Read from the schemas' text, not with the code under test."""
    allowed = []
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::"):
            try:
                operator_named(f"aten.{schema.name[6:]}.{schema.overload_name or 'default'}")
            except SettingError:
                continue
            allowed.append(schema.name)
            takes, returns = str(schema).rsplit(" -> ", 1)
            takes = re.sub(r"str\?? (approximate|equation|indexing|mode|norm|padding|reduce|side|UPLO)\b", "", takes)
            for word in ("str ", "Device", "Generator", "Storage", "Stream", "Layout", "Any", "Dict", "!", "__torch__"):
                assert word not in takes.replace("stride ", ""), schema
            assert "Tensor" in takes, schema
            assert {re.sub(r"\W.*", "", each) for each in returns.strip("()").split(", ")} == {"Tensor"}, schema
    assert 500 < len(allowed) < 700


@pytest.mark.parametrize(
    ("arguments", "keywords", "reason"),
    [
        ([], {}, "needs 'self'"),
        ([X], {}, "needs 'dim'"),
        ([X, 1, 2], {}, "2 arguments by place"),
        ([X, "1"], {}, "'dim' .* must be"),
        ([X, 1.5], {}, "'dim' .* must be"),
        ([X, True], {}, "'dim' .* must be"),
        ([X, 2**63], {}, "'dim' .* must be"),
        ([X, 2**31], {}, "'dim' .* must be"),
        ([X, -(2**31) - 1], {}, "'dim' .* must be"),
        ([X, {"size": "__import__('os')"}], {}, "formula"),
        ([X, {"size": 1.5}], {}, "whole number"),
        ([X, {"dtype": "float32"}], {}, "'dim' .* must be"),
        ([{"input": "0"}, 1], {}, "'self' .* must be"),
        ([{"input": -1}, 1], {}, "'self' .* must be"),
        ([{"input": True}, 1], {}, "'self' .* must be"),
        ([{"input": 0, "size": "a0"}, 1], {}, "'self' .* must be"),
        ([{"input": 1}, 1], {}, "placeholders for the inputs 0, 1"),
        ([3.0, 1], {}, "at least one input"),
        ([X, 1], {"dim": 1}, "no 'dim' left"),
        ([X, 1], {"device": "cuda"}, "no 'device' left"),
        ([X, 1], {"dtype": "float32"}, "'dtype' .* must be"),
        ([X, 1], {"dtype": {"dtype": "load"}}, "'dtype' .* must be"),
        ([X, 1], {"dtype": {"dtype": "qint8"}}, "'dtype' .* must be"),
        ([X, 1], {"dtype": {"dtype": ["float32"]}}, "'dtype' .* must be"),
        ("X1", {}, "list of arguments"),
        ([X, 1], ["dtype"], "dict of keywords"),
    ],
)
def test_arguments_that_are_refused(arguments: Any, keywords: Any, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        Opaque("aten.cumsum.default", arguments, keywords)


def test_counts_of_inputs_and_outputs_must_be_right() -> None:
    for count in (0, 2, True, 1.0, "1"):
        with pytest.raises(SettingError, match="output"):
            Opaque("aten.cumsum.default", [X, 1], output_count=count)
    with pytest.raises(ShapeError, match=r"expected 2 outputs .* came 3"):
        Opaque("aten.unbind.int", [X, 1], output_count=2)(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="expected 1 inputs"):
        Opaque("aten.cumsum.default", [X, 1])(torch.ones(2), torch.ones(2))
    with pytest.raises(ShapeError, match="cannot use 3"):
        Opaque("aten.cumsum.default", [X, 1])(torch.ones(3))
    with pytest.raises(BlockpropError, match=r"node 'opaque1'.*cannot use 3"):
        Sequential(Opaque("aten.cumsum.default", [X, 1]))(torch.ones(3))
