"""Prints as JSON what the processor and the engine reach with nothing in front of them: the most a service could do.

    .venv/bin/python benchmarks/serving/ceiling.py WEIGHTS [--seconds 5]

`WEIGHTS` is what `weights.py` wrote. For each of its models, the rate of the engine alone in batches, as the service
asks it, and the time of one statement. And what products of large matrices reach, in operations (a multiplication or a
sum) a second, whatever the network.
"""

import argparse
import json
import statistics
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from contestants import FORMS, PEERS, STATEMENTS
from onnx import TensorProto, helper, numpy_helper

from model.classifier import Classifier
from model.processor import session_options

BATCH = 64
"""Texts a call, as many as the service gathers."""

_SIZE = 1536
_REPEATS = 10


def matrix_peaks(threads: int = 0) -> dict[str, float]:
    """Return the operations a second of one product of square matrices, by the kind of their numbers."""
    generator = np.random.default_rng(0)
    shape = (_SIZE, _SIZE)
    floats: npt.NDArray[Any] = generator.normal(size=shape).astype(np.float32)
    return {
        "float32": _peak("MatMul", floats, floats, threads),
        "int8": _peak(
            "MatMulInteger", generator.integers(0, 255, shape).astype(np.uint8), np.ones(shape, np.int8), threads
        ),
    }


def _peak(kind: str, left: npt.NDArray[Any], right: npt.NDArray[Any], threads: int) -> float:
    result = TensorProto.FLOAT if kind == "MatMul" else TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(kind, ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)],
        [helper.make_tensor_value_info("y", result, None)],
        [numpy_helper.from_array(right, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(threads), providers=["CPUExecutionProvider"]
    )
    best_s = min(_timed(session, left) for _ in range(_REPEATS))
    return 2 * float(_SIZE) ** 3 / best_s


def _timed(session: onnxruntime.InferenceSession, a: npt.NDArray[Any]) -> float:
    started = perf_counter()
    session.run(None, {"a": a})
    return perf_counter() - started


def operations_a_statement(config: dict[str, int], lengths: list[int]) -> float:
    """Return what a transformer of such a configuration computes for a text, in the mean of texts of so many tokens.

    In each layer a token meets four matrices of width x width and two of width x inner, and every token of its text
    twice.
    """
    width, inner, layers = (config[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    weights = 4 * width * width + 2 * width * inner
    return statistics.fmean(layers * (2 * length * weights + 4 * length * length * width) for length in lengths)


def engine_alone(classifier: Classifier, texts: list[str], seconds: float) -> dict[str, float]:
    """Return statements a second in batches, and the median time of one statement in ms."""
    for size in (BATCH, 1):
        classifier.classify(texts[:size])
    started, done = perf_counter(), 0
    while (passed := perf_counter() - started) < seconds:
        first = done % (len(texts) - BATCH)
        classifier.classify(texts[first : first + BATCH])
        done += BATCH
    times, ends = [], perf_counter() + seconds / 2
    while not times or perf_counter() < ends:
        before = perf_counter()
        classifier.classify([texts[len(times) % len(texts)]])
        times.append(1000 * (perf_counter() - before))
    return {"rate": done / passed, "one_ms": statistics.median(times)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    statements = json.loads((options.weights / STATEMENTS).read_text())
    engines = {}
    for form in FORMS:
        classifier = Classifier.load(options.weights / form)
        engines[form] = engine_alone(classifier, statements["texts"], options.seconds)
    config = json.loads((options.weights / PEERS / "config.json").read_text())
    operations = operations_a_statement(config, statements["lengths"])
    print(json.dumps({"peaks": matrix_peaks(), "engines": engines, "operations": operations}))


if __name__ == "__main__":
    main()
