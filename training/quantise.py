"""8-bit arithmetic for the matrix products of an exported network: integers times integers, with a scale for each row.

Every token's activations get a scale of their own when the network runs, and every column of a weight matrix has one.
ONNX Runtime's own dynamic quantisation has one scale for all activations of a batch, which loses more than the parity
check allows and makes an answer depend on the texts beside it; its weight-only quantisation multiplies in float32.
Integer products are exact, so that every processor gives the same answer (`model.processor` keeps those from saturating
that lack VNNI).

Two kinds of activation would waste most of the eight bits, and are brought to an even range first:
- what a layer norm gives to the first matrix of a feed-forward block: its few large channels are known from the norm's
  own weights, and divided out (as SmoothQuant does with measured ranges, https://arxiv.org/abs/2211.10438);
- what GELU gives: it is never below -0.17, so that nearly all of the range can be above zero.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

__all__ = ["quantise_products"]

_PREFIX = "int8."
_MIDDLE = 128
"""Where zero lies among the unsigned integers of an activation that may have either sign."""

# GELU's least value is -0.16997, at -0.7518.
_GELU_LEAST = 0.17
_GELU_ZERO = 16
"""Where zero lies among the integers of what GELU gives: -0.17 is 16 steps or less below it. Of 8, 16 and 24, on twelve
layers, 16 lost least."""

_GELUS = {"BiasGelu", "FastGelu", "Gelu"}
_NORMS = {"SkipLayerNormalization", "LayerNormalization"}

# A channel of a layer norm is a normal deviate times its weight, plus its bias: nearly always within so many weights.
_DEVIATES = 3.0

Floats = npt.NDArray[np.floating[Any]]


def quantise_products(network: onnx.ModelProto) -> int:
    """Turn every product of activations with a constant matrix, in place, into one of 8-bit integers.

    Args:
        network: with an input `input_ids`, (texts, tokens); activations are (texts, tokens, width). ONNX Runtime's own
            operators are among its opsets, as in every network that its optimiser has fused.

    Returns:
        How many products there were.
    """
    return _Quantiser(network).run()


class _Quantiser:
    def __init__(self, network: onnx.ModelProto) -> None:
        self._network, self._graph = network, network.graph
        self._constants = {each.name: each for each in self._graph.initializer}
        self._producers = {name: node for node in self._graph.node for name in node.output}
        self._nodes: list[onnx.NodeProto] = []
        self._rows: dict[str, str] = {}  # activations that are integers already
        self._count = 0

    def run(self) -> int:
        """Rewrite the graph."""
        self._add("Shape", ["input_ids"], f"{_PREFIX}texts_tokens")
        rest = self._constant("rest", np.array([-1], np.int64))
        self._add("Concat", [f"{_PREFIX}texts_tokens", rest], f"{_PREFIX}shape", axis=0)
        readers = self._readers()
        for node in list(self._graph.node):
            matrix = self._constants.get(node.input[1]) if node.op_type == "MatMul" else None
            if matrix is None or len(matrix.dims) != 2:
                self._nodes.append(node)
            else:
                self._replace(node, matrix, even_out=readers[node.input[0]] == 1)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        kept = [each for each in self._graph.initializer if each.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        return self._count

    def _readers(self) -> Counter[str]:
        """Return how many products read each activation."""
        return Counter(
            node.input[0] for node in self._graph.node if node.op_type == "MatMul" and node.input[1] in self._constants
        )

    def _replace(self, node: onnx.NodeProto, matrix: onnx.TensorProto, even_out: bool) -> None:
        producer = self._producers.get(node.input[0])
        kind = producer.op_type if producer else ""
        # The three products of attention read one norm: their ranges are even enough, and it would cost a pass more.
        channels = self._channels(producer) if producer and kind in _NORMS and even_out else None
        weights: Floats = numpy_helper.to_array(matrix).astype(np.float32)  # (width, columns)
        if channels is not None:
            weights = weights * channels[:, None]
        is_gelu = kind in _GELUS
        rows = self._integers(node.input[0], len(weights), channels, is_gelu)
        scales = np.maximum(np.abs(weights).max(axis=0), np.finfo(np.float32).tiny) / 127  # (columns,)
        name = f"{matrix.name}.{self._count}"
        inputs = [
            f"{rows}.integers",
            self._constant(f"{name}.integers", np.rint(weights / scales).astype(np.int8)),
            self._constant("one", np.float32(1)),
            self._constant(f"{name}.scales", scales.astype(np.float32)),
            self._zero(is_gelu),
        ]
        product = f"{_PREFIX}product.{self._count}"
        self._add("MatMulIntegerToFloat", inputs, product, domain="com.microsoft")
        self._add("Mul", [product, f"{rows}.column"], f"{product}.scaled")  # (texts * tokens, columns)
        self._add("Reshape", [f"{product}.scaled", f"{_PREFIX}shape"], node.output[0])
        self._count += 1

    def _channels(self, norm: onnx.NodeProto) -> Floats | None:
        """Return what each channel of a layer norm is about as large as, (width,)."""
        names = norm.input[2:4] if norm.op_type == "SkipLayerNormalization" else norm.input[1:3]
        if len(names) < 2 or any(name not in self._constants for name in names):
            return None
        weight, bias = (numpy_helper.to_array(self._constants[name]) for name in names)
        channels: Floats = np.maximum(_DEVIATES * np.abs(weight) + np.abs(bias), 1e-3).astype(np.float32)
        return channels

    def _integers(self, activations: str, width: int, channels: Floats | None, is_gelu: bool) -> str:
        """Add what makes integers of activations, once; return the prefix of `.integers` and of `.column`, scales."""
        if activations in self._rows:
            return self._rows[activations]
        rows = f"{_PREFIX}rows.{len(self._rows)}"
        self._rows[activations] = rows
        flat = self._constant(f"flat.{width}", np.array([-1, width], np.int64))
        self._add("Reshape", [activations, flat], f"{rows}.flat")  # (texts * tokens, width)
        if channels is not None:
            self._add("Mul", [f"{rows}.flat", self._constant(f"{rows}.even", 1 / channels)], f"{rows}.evened")
        source = f"{rows}.flat" if channels is None else f"{rows}.evened"
        self._scales(source, rows, is_gelu)
        zero = np.array([_GELU_ZERO if is_gelu else _MIDDLE], np.uint8)
        self._add("Shape", [f"{rows}.scales"], f"{rows}.count")
        self._add("ConstantOfShape", [f"{rows}.count"], f"{rows}.zeros", value=numpy_helper.from_array(zero))
        self._add("QuantizeLinear", [source, f"{rows}.scales", f"{rows}.zeros"], f"{rows}.integers", axis=0)
        last = self._constant("last", np.array([1], np.int64))
        self._add("Unsqueeze", [f"{rows}.scales", last], f"{rows}.column")  # (texts * tokens, 1)
        return rows

    def _scales(self, source: str, rows: str, is_gelu: bool) -> None:
        """Add what gives each row the step between two of its integers, (texts * tokens,)."""
        last = self._constant("last", np.array([1], np.int64))
        if not is_gelu:
            self._add("Abs", [source], f"{rows}.sizes")
        self._add("ReduceMax", [source if is_gelu else f"{rows}.sizes", last], f"{rows}.most", keepdims=0)
        steps = 255 - _GELU_ZERO if is_gelu else 127
        share = self._constant(f"share.{steps}", np.float32(1 / steps))
        self._add("Mul", [f"{rows}.most", share], f"{rows}.steps")
        least = self._constant("least", np.float32(1e-12))
        if is_gelu:
            least = self._constant("least.gelu", np.float32(_GELU_LEAST / _GELU_ZERO))
        self._add("Max", [f"{rows}.steps", least], f"{rows}.scales")

    def _zero(self, is_gelu: bool) -> str:
        return self._constant("zero.gelu" if is_gelu else "zero", np.uint8(_GELU_ZERO if is_gelu else _MIDDLE))

    def _constant(self, name: str, value: Any) -> str:
        name = name if name.startswith(_PREFIX) else f"{_PREFIX}{name}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
            self._graph.initializer.append(self._constants[name])
        return name

    def _add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
