"""The head of a served network: found in its ONNX graph by the nodes that lead to the answers, read, and exchanged.

A shipped version has no weights of torch, only the graph that is served. Its head is the one linear layer over the
mean-pooled features whose outputs are the acts, or, where the network tells none apart, the labels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from model.artifact import Manifest
from model.classifier import NETWORK
from training.errors import NetworkError

__all__ = [
    "Head",
    "encoder_digest",
    "external_files",
    "feature_network",
    "find_head",
    "label_logits",
    "read_network",
    "with_head",
]

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Head:
    """The last linear layer of a network.

    Attributes:
        features: name in the graph of what it reads, the mean-pooled features.
        names: in the graph, of its weight and of its bias.
        weight: shape (outputs, width).
        bias: shape (outputs,).
        widths: how many outputs each label has, in the order of the labels.
    """

    features: str
    names: tuple[str, str]
    weight: Floats
    bias: Floats
    widths: tuple[int, ...]

    def outputs(self, features: Floats) -> Floats:
        """Return what the layer itself makes of features, (n, width): shape (n, outputs)."""
        return features @ self.weight.T + self.bias

    def logits(self, features: Floats) -> Floats:
        """Return what the network answers, labels first and acts after them: (n, width) to (n, labels + outputs)."""
        outputs = self.outputs(features)
        return np.concatenate([label_logits(outputs, self.widths), outputs], axis=1)


def label_logits(outputs: Floats, widths: Sequence[int]) -> Floats:
    """Return the log of the sum of the exponentials of each label's outputs: (n, outputs) to (n, labels)."""
    highest = outputs.max(axis=1, keepdims=True)
    sums = np.add.reduceat(np.exp(outputs - highest), [0, *accumulate(widths[:-1])], axis=1)
    # Far below the highest a sum may round to zero; its logarithm is then as low as it can be, not minus infinity.
    return np.asarray(np.log(np.maximum(sums, np.finfo(sums.dtype).tiny)) + highest)


def read_network(folder: Path) -> onnx.ModelProto:
    """Return the graph of a version, weights that lie in other files left there.

    Raises:
        NetworkError: it is none.
    """
    try:
        return onnx.load(folder / NETWORK, load_external_data=False)
    except Exception as error:  # protobuf raises a bare Exception subclass of its own
        raise NetworkError(f"{folder / NETWORK} cannot be read as an ONNX network: {error}") from error


def find_head(network: onnx.ModelProto, folder: Path, manifest: Manifest) -> Head:
    """Return the head of a version's network.

    Raises:
        NetworkError: the graph ends otherwise than in one linear layer with an output for each act or label.
    """
    node = _head_node(network, folder, manifest)
    tensors = {each.name: each for each in network.graph.initializer}
    weight, bias = (_array(tensors[name], folder) for name in node.input[1:])
    widths = tuple(len(manifest.acts.get(label) or ()) or 1 for label in manifest.labels)
    if weight.ndim != 2 or len(weight) != sum(widths) or bias.shape != (sum(widths),):
        raise NetworkError(
            f"expected a last layer with {sum(widths)} outputs in {folder / NETWORK}, as its manifest has labels and "
            f"acts; came weights of shape {weight.shape} and biases of shape {bias.shape}."
        )
    return Head(node.input[0], (node.input[1], node.input[2]), weight, bias, widths)


def _head_node(network: onnx.ModelProto, folder: Path, manifest: Manifest) -> NodeProto:
    answer = "act_logits" if manifest.acts else "logits"
    makers = [node for node in network.graph.node if answer in node.output]
    tensors = {each.name for each in network.graph.initializer}
    if len(makers) == 1 and _is_linear(makers[0]) and set(makers[0].input[1:]) <= tensors:
        node: NodeProto = makers[0]
        return node
    came = f"a {makers[0].op_type} node of inputs {', '.join(makers[0].input)}" if makers else "no node that makes it"
    raise NetworkError(
        f"only the head of a network that ends in one linear layer can be refitted: expected a Gemm node with stored "
        f"weight and bias that makes {answer!r} in {folder / NETWORK}, came {came}. Train a version with "
        "`python -m training fit`."
    )


def _is_linear(node: NodeProto) -> bool:
    """Return whether a node computes its first input times a transposed weight, plus a bias, and no more."""
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    settings = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | given
    return (
        node.op_type == "Gemm"
        and len(node.input) == 3
        and settings == {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    )


def _array(tensor: TensorProto, folder: Path) -> Floats:
    loaded = TensorProto()
    loaded.CopyFrom(tensor)
    if uses_external_data(loaded):
        load_external_data_for_tensor(loaded, str(folder))
    return numpy_helper.to_array(loaded).astype(np.float32)


def feature_network(network: onnx.ModelProto, head: Head) -> bytes:
    """Return a network whose only output is what the head reads, shape (texts, width)."""
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    del changed.graph.output[:]
    shape = ["texts", head.weight.shape[1]]
    changed.graph.output.append(helper.make_tensor_value_info(head.features, TensorProto.FLOAT, shape))
    return bytes(changed.SerializeToString())


def with_head(network: onnx.ModelProto, head: Head) -> bytes:
    """Return the same network with the weights of `head` in place of its own; they stand in the graph itself."""
    arrays = dict(zip(head.names, (head.weight, head.bias), strict=True))
    tensors = {name: numpy_helper.from_array(each.astype(np.float32), name) for name, each in arrays.items()}
    return bytes(_exchanged(network, tensors).SerializeToString())


def _exchanged(network: onnx.ModelProto, tensors: dict[str, TensorProto]) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    for tensor in changed.graph.initializer:
        if tensor.name in tensors:
            tensor.CopyFrom(tensors[tensor.name])
    return changed


def external_files(network: onnx.ModelProto) -> list[str]:
    """Return the names of the files beside the graph in which it keeps weights."""
    entries = [entry for tensor in network.graph.initializer for entry in tensor.external_data]
    return sorted({entry.value for entry in entries if entry.key == "location"})


def encoder_digest(network: onnx.ModelProto, head: Head, manifest: Manifest) -> str:
    """Return a SHA-256 of all that features depend on: of the version without its head.

    Versions that were refitted from one another have the same, so that one cache of features serves them all.
    """
    headless = _exchanged(network, {name: TensorProto(name=name) for name in head.names})
    files = {name: digest for name, digest in manifest.files.items() if name in external_files(headless)}
    reading = [manifest.files.get("tokenizer.json"), manifest.max_tokens, manifest.window_overlap_tokens]
    digest = hashlib.sha256(headless.SerializeToString(deterministic=True))
    digest.update(repr([sorted(files.items()), reading]).encode())
    return digest.hexdigest()
