"""Products of 8-bit integers come near those of floats, whatever the activations' range, row by row."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from model.processor import session_options
from training.quantise import quantise_products

WIDTH, COLUMNS = 64, 48
NORM, GELU, NEITHER = "SkipLayerNormalization", "BiasGelu", "Identity"


def _network(kind: str, readers: int = 1) -> onnx.ModelProto:
    """Activations of a kind, (1, tokens, width), times one or more matrices."""
    generator = np.random.default_rng(0)
    weight, bias = generator.normal(1, 0.1, WIDTH), generator.normal(0, 0.1, WIDTH)
    weight[7] = 40  # one channel that is far larger than the others
    constants = {"weight": weight, "bias": bias}
    matrices = {f"matrix.{number}": generator.normal(0, 0.05, (WIDTH, COLUMNS)) for number in range(readers)}
    inputs = {NORM: ["x", "x", "weight", "bias"], GELU: ["x", "bias"], NEITHER: ["x"]}[kind]
    domain = "" if kind == NEITHER else "com.microsoft"
    nodes = [helper.make_node(kind, inputs, ["activations"], domain=domain)]
    nodes += [helper.make_node("MatMul", ["activations", name], [f"y{number}"]) for number, name in enumerate(matrices)]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["texts", "tokens", WIDTH]),
        ],
        [helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, None) for number in range(readers)],
        [numpy_helper.from_array(each.astype(np.float32), name) for name, each in (constants | matrices).items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _run(network: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    ids = np.zeros(x.shape[:2], np.int64)
    feed = {each.name: {"x": x, "input_ids": ids}[each.name] for each in session.get_inputs()}
    return np.stack(session.run(None, feed))


def _activations(tokens: int = 30) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (2, tokens, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(("kind", "error"), [(NORM, 0.02), (GELU, 0.012), (NEITHER, 0.012)])
def test_products_of_integers_come_near_those_of_floats(kind: str, error: float) -> None:
    network, x = _network(kind), _activations()
    expected = _run(network, x)
    assert quantise_products(network) == 1
    came = _run(network, x)
    assert came.shape == expected.shape
    assert np.linalg.norm(came - expected) / np.linalg.norm(expected) < error


def test_one_large_channel_of_a_norm_does_not_coarsen_the_others() -> None:
    """What `activations` are without the large channel's part in the product comes through as well."""
    network, x = _network(NORM), _activations()
    matrix = next(each for each in network.graph.initializer if each.name == "matrix.0")
    values = numpy_helper.to_array(matrix).copy()
    values[7] = 0
    matrix.CopyFrom(numpy_helper.from_array(values, matrix.name))
    expected = _run(network, x)
    quantise_products(network)
    assert np.linalg.norm(_run(network, x) - expected) / np.linalg.norm(expected) < 0.012


def test_activations_that_several_matrices_read_become_integers_once() -> None:
    network, x = _network(NORM, readers=3), _activations()
    expected = _run(network, x)
    assert quantise_products(network) == 3
    assert [node.op_type for node in network.graph.node].count("QuantizeLinear") == 1
    assert np.linalg.norm(_run(network, x) - expected) / np.linalg.norm(expected) < 0.1


@pytest.mark.parametrize("kind", [NORM, GELU, NEITHER])
def test_a_row_does_not_depend_on_the_rows_beside_it(kind: str) -> None:
    network, x = _network(kind), _activations()
    quantise_products(network)
    loud = x.copy()
    loud[1] *= 1000
    assert np.array_equal(_run(network, x)[:, :1], _run(network, loud)[:, :1])
    assert np.isfinite(_run(network, np.zeros_like(x))).all()


def test_product_of_two_activations_is_left_alone() -> None:
    network = _network(NEITHER)
    network.graph.node[1].input[1] = "x"
    network.graph.node.insert(1, helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]))
    network.graph.node[2].input[1] = "turned"
    assert quantise_products(network) == 0
    assert _run(network, _activations()).shape == (1, 2, 30, 30)
