"""A peer: LitServe with batching around a `transformers` pipeline. Runs in the peers' environment.

python benchmarks/serving/peer_litserve.py FOLDER PORT
"""

import sys
from typing import Any

import litserve
from transformers import pipeline

BATCH = 32
"""Infinity's default and Brink's, so that all gather alike."""

TIMEOUT_S = 0.01
"""How long a batch may wait to be filled."""


class Classify(litserve.LitAPI):
    """Statements to labels, as the framework's documentation does it: decode, predict a batch, encode."""

    def __init__(self, folder: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=TIMEOUT_S)
        self._folder = folder

    def setup(self, device: str) -> None:
        """Load the classifier in the worker's process."""
        self._classify = pipeline("text-classification", model=self._folder, top_k=None, device=device)

    def decode_request(self, request: dict[str, Any]) -> str:
        """Return the text of a body."""
        return str(request["text"])

    def predict(self, texts: list[str]) -> Any:
        """Return the answers of a batch."""
        return self._classify(texts, batch_size=len(texts))

    def encode_response(self, output: Any) -> Any:
        """Return an answer's body."""
        return output


def main() -> None:
    """Serve."""
    folder, port = sys.argv[1:]
    server = litserve.LitServer(Classify(folder), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
