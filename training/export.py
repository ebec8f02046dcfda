"""From the trained network to the one that is served: fused ONNX with 8-bit weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from training.network import MeanPoolClassifier
from training.quantise import quantise_products

__all__ = ["MAX_FILE_BYTES", "WEIGHTS", "export_network", "fuse"]

# From so many numbers on, a table of embeddings is worth a scale a row.
_LARGE_TABLE = 1_000_000

WEIGHTS = "model.onnx.weights-{}"
"""Where a network of more than `MAX_FILE_BYTES` has its weights, in files numbered from 1."""

_LARGE_TENSOR_BYTES = 4096

MAX_FILE_BYTES = 90_000_000
"""Largest file of an exported network: hosts of repositories refuse files from 100 MB on."""


def export_network(network: MeanPoolClassifier, target: Path) -> None:
    """Write `network` to `target` as a fused ONNX graph with inputs `input_ids` and `attention_mask`, (texts, tokens).

    Its outputs are `logits`, (texts, labels), and `act_logits`, (texts, acts). A network of more than `MAX_FILE_BYTES`
    has its weights in files named `WEIGHTS` beside it, which ONNX Runtime maps into memory.

    Word embeddings are eight-bit integers with one scale a word, and the products of the encoder's matrices are those
    of eight-bit integers: see `training.quantise`.
    """
    with TemporaryDirectory() as scratch:
        fused = Path(scratch) / "fused.onnx"
        fuse(network, fused)
        served = onnx.load(fused)
        quantise_products(served)
        _quantise_tables(served.graph)
        _save(served, target)


def fuse(network: MeanPoolClassifier, target: Path) -> None:
    """Write `network` to `target` in float32, its layer norms and GELUs fused with what stands before them."""
    exported = target.with_name(f"exported-{target.name}")
    _trace(network, exported)
    encoder = network.encoder.config
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False  # it would take the table of embeddings in, as float32
    with _quiet():
        optimize_model(
            str(exported),
            model_type="bert",
            num_heads=encoder.num_attention_heads,
            hidden_size=encoder.hidden_size,
            opt_level=0,
            optimization_options=options,
        ).save_model_to_file(str(target))


def _quantise_tables(graph: onnx.GraphProto) -> None:
    """Keep every large table that rows are gathered from as eight-bit integers, one scale a row."""
    tables = {each.name: each for each in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type != TensorProto.FLOAT or np.prod(table.dims) < _LARGE_TABLE:
            nodes.append(node)
            continue
        rows = numpy_helper.to_array(table)  # (rows, width)
        scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        names = {part: f"{table.name}.{part}" for part in ("integers", "scales", "row", "row_float", "row_scale")}
        graph.initializer.append(numpy_helper.from_array(np.rint(rows / scales).astype(np.int8), names["integers"]))
        graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), names["scales"]))
        graph.initializer.remove(table)
        nodes += [
            helper.make_node("Gather", [names["integers"], node.input[1]], [names["row"]], axis=0),
            helper.make_node("Gather", [names["scales"], node.input[1]], [names["row_scale"]], axis=0),
            helper.make_node("Cast", [names["row"]], [names["row_float"]], to=TensorProto.FLOAT),
            helper.make_node("Mul", [names["row_float"], names["row_scale"]], [node.output[0]]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _save(network: onnx.ModelProto, target: Path) -> None:
    """Write a network to one file, or where it is too large for that, its weights to several beside it."""
    _forget_where_it_was_made(network)
    # What is there is of a run that was killed: weights would be appended to it.
    for left in target.parent.glob(WEIGHTS.format("*")):
        left.unlink()
    if network.ByteSize() > MAX_FILE_BYTES:
        written, number = 0, 1
        for tensor in network.graph.initializer:
            if len(tensor.raw_data) < _LARGE_TENSOR_BYTES:  # shapes and the like are read before the files are
                continue
            if written and written + len(tensor.raw_data) > MAX_FILE_BYTES:
                written, number = 0, number + 1
            set_external_data(tensor, WEIGHTS.format(number))
            written += len(tensor.raw_data)
    onnx.save_model(network, target)
    for path in target.parent.glob(WEIGHTS.format("*")):  # written for their owner alone
        path.chmod(target.stat().st_mode)


def _forget_where_it_was_made(network: onnx.ModelProto) -> None:
    """Drop the stack trace that the exporter notes for each node: it names folders of the machine that trained."""
    graph = network.graph
    functions = [node for function in network.functions for node in function.node]
    for part in (
        network,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *functions,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _trace(network: MeanPoolClassifier, target: Path) -> None:
    network.train(False)
    ids = torch.arange(1, 13).reshape(2, 6)
    either = {0: "texts", 1: "tokens"}
    with _quiet():
        torch.onnx.export(
            network,
            (ids, torch.ones_like(ids)),
            target,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits", "act_logits"],
            dynamic_shapes={"input_ids": either, "attention_mask": either},
            external_data=False,
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what exporter and quantiser say of their own internals; errors still reach the caller."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
