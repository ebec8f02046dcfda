"""A peer: what most people write first, FastAPI around a `transformers` pipeline. Runs in the peers' environment.

python benchmarks/serving/peer_fastapi.py FOLDER PORT
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline


class Statement(BaseModel):
    """The body of a request."""

    text: str


def main() -> None:
    """Load the classifier and serve it."""
    folder, port = sys.argv[1:]
    classify = pipeline("text-classification", model=folder, top_k=None, device="cpu")
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    def predict(statement: Statement) -> Any:
        return classify(statement.text)

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
