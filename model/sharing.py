"""One network for several processes: its weights in a file that each of them maps, so that memory holds them once.

ONNX Runtime maps weights that lie in a file beside the network, but lays them out anew for the processor, in memory of
each process. So the network is saved once with its weights laid out already, for this machine and the time that its
processes run; the answers stay the same to the last bit.
"""

import fcntl
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from model.processor import session_options

__all__ = ["shared_network"]

_WEIGHTS = "weights"
_MIN_BYTES = 1024
_LOG_ERRORS = 3  # it warns that what it saves is for this machine only, which is meant


def shared_network(network: Path, files: Mapping[str, str], folder: Path) -> Path:
    """Return the copy of a network whose weights are mapped; the first process that asks for it makes it.

    Args:
        network: to copy.
        files: digests of the files of its version, which tell it from every other.
        folder: of this machine, that is deleted with the last of its processes.
    """
    name = hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()[:16]
    made = folder / name / network.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not made.exists():
            made.parent.mkdir(exist_ok=True)
            unfinished = made.with_suffix(".part")
            _save(network, unfinished)
            unfinished.replace(made)  # last: its presence means that it is whole
    return made


def _save(network: Path, out: Path) -> None:
    options = session_options(1)
    options.log_severity_level = _LOG_ERRORS
    options.optimized_model_filepath = str(out)
    for name, value in (
        ("session.optimized_model_external_initializers_file_name", _WEIGHTS),
        ("session.optimized_model_external_initializers_file_min_size_in_bytes", str(_MIN_BYTES)),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(name, value)
    onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
