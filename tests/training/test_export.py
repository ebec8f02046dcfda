import logging
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoTokenizer

import training.export
from model.calibration import softmax
from model.classifier import NETWORK, Classifier
from model.labels import ACTS, LABELS
from tests.tiny import build_base, tiny_rows
from training.errors import ParityError
from training.export import WEIGHTS, export_network
from training.finetune import predict_logits
from training.network import MeanPoolClassifier
from training.parity import check_parity
from training.teacher import TRANSFORMER


def _probabilities(of_first: list[float]) -> np.ndarray:
    return np.array([[value, 1 - value] for value in of_first])


def test_alike_networks_pass_with_what_was_found() -> None:
    trained, served = _probabilities([0.9, 0.2, 0.4, 0.7]), _probabilities([0.85, 0.2, 0.3, 0.71])
    assert check_parity(trained, served) == {"statements": 4, "label_agreement": 1.0, "max_difference": 0.1}


@pytest.mark.parametrize(("changed", "passes"), [(0, True), (3, True), (4, False), (100, False)])
def test_labels_may_differ_on_three_statements_of_a_hundred(changed: int, passes: bool) -> None:
    trained, served = _probabilities([0.51] * 100), _probabilities([0.49] * changed + [0.51] * (100 - changed))
    if passes:
        assert check_parity(trained, served)["label_agreement"] == (100 - changed) / 100
    else:
        with pytest.raises(ParityError, match=rf"on at least 97% .* came {100 - changed}\.0% and 0\.020\. No version"):
            check_parity(trained, served)


@pytest.mark.parametrize(("moved_to", "passes"), [(0.71, True), (0.69, False)])
def test_no_probability_may_move_by_more_than_three_tenths(moved_to: float, passes: bool) -> None:
    trained, served = _probabilities([0.9, 1.0]), _probabilities([0.9, moved_to])
    if passes:
        assert check_parity(trained, served)["max_difference"] == 0.29
    else:
        with pytest.raises(ParityError, match=r"changed by more than 0\.3, came 100\.0% and 0\.310"):
            check_parity(trained, served)


def test_network_that_answers_no_number_is_refused() -> None:
    with pytest.raises(ParityError, match=r"differs from the trained one on the 2 statements .* and nan"):
        check_parity(np.full((2, 4), np.nan), np.full((2, 4), np.nan))


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeanPoolClassifier:
    """A network that is large by limits a thousand times lower: its table and its weights are kept apart."""
    monkeypatch.setattr(training.export, "_LARGE_TABLE", 1000)
    monkeypatch.setattr(training.export, "MAX_FILE_BYTES", 20_000)
    monkeypatch.setattr(training.export, "_LARGE_TENSOR_BYTES", 512)
    build_base(tmp_path / "base")
    return MeanPoolClassifier.from_encoder(str(tmp_path / "base"), LABELS, ACTS)


def test_large_network_is_written_to_several_files_and_answers_as_the_trained_one(
    large: MeanPoolClassifier, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):  # the second time over what a killed run has left
        export_network(large, out / NETWORK)
        sizes = {path.name: path.stat().st_size for path in out.iterdir()}
        names = {NETWORK, *(WEIGHTS.format(number) for number in range(1, len(sizes)))}
        assert sizes.keys() == names
        assert len(sizes) >= 3
        assert all(size <= 20_000 for name, size in sizes.items() if name != NETWORK)
    graph = onnx.load(out / NETWORK).graph
    words = [large.encoder.config.vocab_size, large.encoder.config.hidden_size]
    assert [each.data_type for each in graph.initializer if list(each.dims) == words] == [onnx.TensorProto.INT8]
    session = onnxruntime.InferenceSession(out / NETWORK, providers=["CPUExecutionProvider"])
    ids = torch.tensor([[2, 60, 61, 62, 3], [2, 70, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.inference_mode():
        expected = large(ids, mask)
    logits, act_logits = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    assert logits == pytest.approx(expected.logits.numpy(), abs=0.02)
    assert act_logits == pytest.approx(expected.act_logits.numpy(), abs=0.02)
    assert act_logits.shape == (2, sum(map(len, ACTS.values())))


def test_served_network_takes_any_number_of_texts_and_tokens(tiny_model: Path) -> None:
    session = onnxruntime.InferenceSession(tiny_model / NETWORK, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert [each.name for each in session.get_outputs()] == ["logits", "act_logits"]
    for shape in ((1, 3), (5, 7), (2, 256)):
        ids = np.full(shape, 60, dtype=np.int64)
        logits, act_logits = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        assert logits.shape == act_logits.shape == (shape[0], 4)


def test_served_network_is_fused_and_the_encoders_matrices_have_eight_bits(tiny_model: Path) -> None:
    graph = onnx.load(tiny_model / NETWORK).graph
    kinds = Counter(node.op_type for node in graph.node)
    # Of the two layers: six weight matrices each, two norms after a sum and one GELU.
    assert (kinds["MatMulIntegerToFloat"], kinds["SkipLayerNormalization"], kinds["BiasGelu"]) == (12, 4, 2)
    assert kinds["QuantizeLinear"] == 8  # of each layer: one for query, key and value, and one for each other matrix
    matrices = {node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"}
    eight_bits = [each for each in graph.initializer if each.name in matrices]
    assert {each.data_type for each in eight_bits} == {onnx.TensorProto.INT8}
    assert Counter(tuple(each.dims) for each in eight_bits) == {(32, 32): 8, (32, 64): 2, (64, 32): 2}
    products = {name for node in graph.node if node.op_type in {"MatMul", "Gemm"} for name in node.input}
    in_full = {each.name for each in graph.initializer if len(each.dims) == 2} & products
    assert in_full == {"head.weight"}  # one row a label: nothing to gain


def test_answer_does_not_depend_on_the_texts_beside_it(tiny_model: Path) -> None:
    texts = [row["text"] for row in tiny_rows(40, seed=3)]
    classifier = Classifier.load(tiny_model)
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    assert np.abs(classifier.logits(texts) - alone).max() < 1e-4


def test_served_network_answers_as_the_trained_one(tiny_model: Path) -> None:
    texts = [row["text"] for row in tiny_rows(60, seed=9)]
    classifier = Classifier.load(tiny_model)
    ids = AutoTokenizer.from_pretrained(tiny_model / TRANSFORMER)(texts)["input_ids"]
    trained = predict_logits(MeanPoolClassifier.from_pretrained(tiny_model / TRANSFORMER), ids).numpy()
    parity = check_parity(softmax(trained), softmax(classifier.logits(texts)))
    assert parity["statements"] == 60


def test_export_leaves_logging_and_warnings_as_they_were(tiny_model: Path) -> None:
    assert logging.root.manager.disable == logging.NOTSET
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
    assert not torch.onnx.is_in_onnx_export()
