"""Prints how fast and how faithful each way of computing one trained network is, in one run on this machine.

    .venv/bin/python benchmarks/serving/engines.py --version models/trained [--data data/statements] [--count 256]

`--version` is a folder that `training fit` wrote: its trained weights are exported anew in each way. The statements are
of the validation split, alike for all; every rate is the median of the repeats, which take turns. Ways whose library is
not installed (`pip install openvino`) are left out. The ceiling is what one product of large matrices reaches.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from ceiling import matrix_peaks
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from transformers import AutoTokenizer

from model.calibration import softmax
from model.classifier import NETWORK
from model.labels import LABELS
from model.processor import session_options
from training.corpus import read_statements
from training.export import export_network, fuse
from training.network import MeanPoolClassifier
from training.split import read_splits
from training.teacher import TRANSFORMER

BATCH = 32
REPEATS = 3
ALONE = 40
"""Statements that are timed one by one."""

Ids = Sequence[Sequence[int]]
Logits = npt.NDArray[np.floating[Any]]
Engine = Callable[[dict[str, Any]], Logits]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("data/statements")])
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    location = options.version / TRANSFORMER
    network = MeanPoolClassifier.from_pretrained(location).train(False)
    part_of = read_splits(options.splits)
    texts = [each.text for each in read_statements(options.data, LABELS) if part_of.get(each.id) == "validation"]
    tokenizer = AutoTokenizer.from_pretrained(location)
    ids = tokenizer(texts[: options.count], truncation=True, max_length=256)["input_ids"]
    with TemporaryDirectory() as scratch:
        engines = _engines(network, Path(scratch), options.threads)
        _report(engines, ids)
    _ceiling(options.threads)


def _engines(network: MeanPoolClassifier, folder: Path, threads: int) -> dict[str, Engine]:
    fused, quantised = folder / "fused.onnx", folder / "shipped" / NETWORK
    fuse(network, fused)
    quantised.parent.mkdir()
    export_network(network, quantised)
    engines = {"ONNX Runtime, float32, fused": _onnxruntime(fused, threads)}
    engines["ONNX Runtime, int8 with a scale a row (shipped)"] = _onnxruntime(quantised, threads)
    dynamic = folder / "dynamic.onnx"
    quantize_dynamic(fused, dynamic, per_channel=True, weight_type=QuantType.QInt8)
    engines["ONNX Runtime, int8 with a scale a batch"] = _onnxruntime(dynamic, threads)
    for level, name in ((0, "float32 products"), (4, "int8 products")):
        quantizer = MatMulNBitsQuantizer(
            onnx.load(fused), bits=8, block_size=32, is_symmetric=True, accuracy_level=level
        )
        quantizer.process()
        path = folder / f"weights-{level}.onnx"
        onnx.save(quantizer.model.model, path)
        engines[f"ONNX Runtime, 8-bit weights in blocks of 32, {name}"] = _onnxruntime(path, threads)
    engines["torch, bfloat16"] = _torch(network, threads)
    return engines | _openvino(fused, threads)


def _onnxruntime(path: Path, threads: int) -> Engine:
    session = onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])
    return lambda feed: np.asarray(session.run(["logits"], feed)[0])


def _torch(network: MeanPoolClassifier, threads: int) -> Engine:
    if threads:
        torch.set_num_threads(threads)

    @torch.inference_mode()
    def answer(feed: dict[str, Any]) -> Logits:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(*(torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))).logits
        return np.asarray(logits.float().numpy())

    return answer


def _openvino(path: Path, threads: int) -> dict[str, Engine]:
    try:
        import openvino
    except ImportError:
        return {}
    core = openvino.Core()
    hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
    engines: dict[str, Engine] = {}
    for precision in ("bf16", "f32"):
        compiled = core.compile_model(str(path), "CPU", hints | {"INFERENCE_PRECISION_HINT": precision})
        engines[f"OpenVINO, {precision}"] = lambda feed, compiled=compiled: np.asarray(compiled(feed)["logits"])
    return engines


def _report(engines: dict[str, Engine], ids: Ids) -> None:
    rates: dict[str, list[float]] = {name: [] for name in engines}
    answers = {name: _batches(engine, ids)[0] for name, engine in engines.items()}  # warm: shapes are planned
    for _ in range(REPEATS):
        for name, engine in engines.items():
            answers[name], seconds = _batches(engine, ids)
            rates[name].append(len(ids) / seconds)
    exact = softmax(answers["ONNX Runtime, float32, fused"])
    tokens = statistics.fmean(map(len, ids))
    print(f"{len(ids)} statements of {tokens:.0f} tokens in the mean\n")
    print("| engine | statements/s | ms alone | same label | mean change of a probability | largest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, engine in engines.items():
        moved = np.abs(softmax(answers[name]) - exact)
        same = (answers[name].argmax(axis=1) == exact.argmax(axis=1)).mean()
        print(
            f"| {name} | {statistics.median(rates[name]):.1f} | {_alone_ms(engine, ids):.1f} | {same:.1%} | "
            f"{moved.mean():.4f} | {moved.max():.3f} |"
        )


def _batches(engine: Engine, ids: Ids) -> tuple[Logits, float]:
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    logits = np.empty((len(ids), len(LABELS)), np.float32)
    started = perf_counter()
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        logits[batch] = engine(_feed([ids[index] for index in batch]))
    return logits, perf_counter() - started


def _alone_ms(engine: Engine, ids: Ids) -> float:
    seconds = []
    for each in ids[:ALONE]:
        started = perf_counter()
        engine(_feed([each]))
        seconds.append(perf_counter() - started)
    return 1000 * statistics.median(seconds)


def _feed(batch: Ids) -> dict[str, npt.NDArray[np.int64]]:
    width = max(map(len, batch))
    ids = np.zeros((len(batch), width), np.int64)
    mask = np.zeros_like(ids)
    for row, each in enumerate(batch):
        ids[row, : len(each)], mask[row, : len(each)] = each, 1
    return {"input_ids": ids, "attention_mask": mask}


def _ceiling(threads: int) -> None:
    print("\n| matrix product | Gop/s |\n| --- | --- |")
    for name, operations in matrix_peaks(threads).items():
        print(f"| {name} | {operations / 1e9:.0f} |")


if __name__ == "__main__":
    sys.exit(main())
