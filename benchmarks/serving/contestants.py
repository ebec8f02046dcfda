"""The services that are compared: how each is started and asked. Knows nothing of measuring."""

import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = "transformers"
"""Folder for the peers, of those that `weights.py` writes."""

FORMS = ("int8", "float32")
"""Folders for Brink."""

STATEMENTS = "statements.json"
"""Beside the folders: the texts that are asked, and of how many tokens each is."""

_HERE = Path(__file__).parent
_OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
_MODEL = "benchmark"


@dataclass(frozen=True)
class Contestant:
    """One service.

    Attributes:
        name: in reports.
        precision: of its matrix products, as `ceiling.py` names them.
        command: that starts it.
        url: where it listens.
        ready: its route that answers 200 once it can be asked.
        route: that classifies.
        body: of a request with some texts, as JSON sees it.
        many: a request may have many texts.
        environment: variables that it needs.
        is_peer: it is not Brink.
    """

    name: str
    precision: str
    command: Sequence[str]
    url: str
    ready: str
    route: str
    body: Callable[[Sequence[str]], Any]
    many: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    is_peer: bool = True


def brink(folder: Path, precision: str, scratch: Path) -> Contestant:
    """Return Brink with the model of a folder; whatever it keeps, it keeps in `scratch`."""
    port = _free_port()
    return Contestant(
        name=f"Brink, {precision}",
        precision=precision,
        command=[sys.executable, "-m", "service"],
        url=f"http://127.0.0.1:{port}",
        ready="/readyz",
        route="/v1/predict",
        body=lambda texts: {"texts": list(texts)},
        many=True,
        environment={
            "BRINK_PORT": str(port),
            "BRINK_MODEL": str(folder.absolute()),
            "BRINK_LOG_LEVEL": "warning",  # as quiet as the others are
            "BRINK_DATABASE_URL": f"sqlite:///{scratch.absolute()}/brink.db",
            "BRINK_MODELS": str(scratch.absolute() / "versions"),
        },
        is_peer=False,
    )


def peers(weights: Path, programs: Path) -> list[Contestant]:
    """Return the peers on the folder for `transformers` in `weights`, with the programs of their environment."""
    folder = str((weights / PEERS).absolute())
    port = _free_port()
    return [
        _scripted("FastAPI with a pipeline", "peer_fastapi.py", folder, programs),
        _scripted("LitServe", "peer_litserve.py", folder, programs),
        Contestant(
            name="infinity, torch",
            precision="float32",
            command=[
                *(str(programs / "infinity_emb"), "v2", "--model-id", folder, "--served-model-name", _MODEL),
                *("--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"),
                # Its own takes half a minute and more; here, all are asked for a while before anything is measured.
                "--no-model-warmup",
                *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
            ],
            url=f"http://127.0.0.1:{port}",
            ready="/health",
            route="/classify",
            body=lambda texts: {"model": _MODEL, "input": list(texts)},
            many=True,
            environment=_OFFLINE,
        ),
    ]


def _scripted(name: str, script: str, folder: str, programs: Path) -> Contestant:
    port = _free_port()
    return Contestant(
        name=name,
        precision="float32",
        command=[str(programs / "python"), str(_HERE / script), folder, str(port)],
        url=f"http://127.0.0.1:{port}",
        ready="/health",
        route="/predict",
        body=lambda texts: {"text": texts[0]},
        environment=_OFFLINE,
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
