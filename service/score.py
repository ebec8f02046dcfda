"""`python -m service score`: labels a file of any size in constant memory, and goes on where it was killed.

Answers go line by line into a journal beside the output, which is written from it in one last pass and put in place
at once: the output is either not there or whole, and no row is lost or doubled.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tqdm import tqdm

from model.artifact import file_digest
from model.classifier import Classifier, Prediction
from model.errors import UnclassifiableTextError
from service.errors import TableError
from service.tables import Row, batches, check_writable, read_rows, scan, write_rows

__all__ = ["JOURNAL", "score_file"]

JOURNAL = ".journal"
"""Ending of the journal's name, after the whole name of the output."""

_PREFIX = "brink_"
# Rows labelled between two writes: sorted by length together they waste little, and a kill loses no more than these.
_CHUNK = 256


def score_file(classifier: Classifier, source: Path, out: Path, column: str = "text", quiet: bool = False) -> int:
    """Label every row of a file.

    The output has the rows and columns of the input and, after them, `brink_label`, `brink_confidence`,
    `brink_abstained`, `brink_act`, `brink_set` (the prediction set, with spaces between), `brink_error` and
    `brink_p_LABEL` for each label.

    Args:
        classifier: to label with.
        source: CSV with a header, JSON Lines or Parquet.
        out: new file, of any of the three kinds.
        column: with the texts.
        quiet: show no progress.

    Returns:
        How many rows could not be labelled; `brink_error` says why.

    Raises:
        TableError: the input cannot be read or lacks the column, or the output or its journal is of something else.
    """
    if out.exists():
        raise TableError(f"{out} is there already and is not overwritten; choose another --out.")
    check_writable(out)
    columns, count = scan(source)
    _check_columns(source, columns, column)
    journal = out.with_name(out.name + JOURNAL)
    head = {"input": file_digest(source), "column": column, "model": _identity(classifier)}
    with journal.open("a+b") as stream:
        _lock(stream, journal)
        done = _resume(stream, journal, head)
        with tqdm(total=count, initial=done, unit=" rows", disable=quiet) as bar:
            _label(classifier, source, column, done, stream, bar)
        return _finish(source, out, journal, [*columns, *_added(classifier.labels)])


def _identity(classifier: Classifier) -> str:
    """Return what tells a model from every other: two of one day may have the same version's name."""
    told = [classifier.manifest.version, classifier.manifest.files, classifier.manifest.temperature]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _lock(stream: BinaryIO, journal: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the file is closed, or the process ends
    except OSError:
        raise TableError(
            f"{journal} is being written by another process; wait for it, or choose another --out."
        ) from None


def _label(
    classifier: Classifier, source: Path, column: str, done: int, stream: BinaryIO, bar: "tqdm[NoReturn]"
) -> None:
    for chunk in batches(islice(read_rows(source), done, None), _CHUNK):
        answers = _answers(classifier, chunk, column)
        stream.write(b"".join(json.dumps(each).encode() + b"\n" for each in answers))
        stream.flush()
        os.fsync(stream.fileno())
        bar.update(len(chunk))


def _check_columns(source: Path, columns: Sequence[str], column: str) -> None:
    if column not in columns:
        raise TableError(
            f"{source}: expected a column {column!r} with the texts, came {', '.join(columns) or 'no column'}; name "
            "yours with --column."
        )
    if taken := [name for name in columns if name.startswith(_PREFIX)]:
        raise TableError(f"{source} was labelled before: it has the columns {', '.join(taken)}; leave them out.")


def _added(labels: Sequence[str]) -> list[str]:
    names = ["label", "confidence", "abstained", "act", "set", "error", *(f"p_{label}" for label in labels)]
    return [_PREFIX + name for name in names]


def _resume(stream: BinaryIO, journal: Path, head: Mapping[str, str]) -> int:
    """Return how many rows a journal holds, begin it where it is new, and cut off a line that was not ended."""
    first = json.dumps(head).encode() + b"\n"
    stream.seek(0)
    came = stream.readline()
    if came != first and not (first.startswith(came) and not came.endswith(b"\n")):
        raise TableError(
            f"{journal} is of another input, column or model; delete it to begin anew, or choose another --out."
        )
    rows, end = 0, len(first)
    if came != first:  # empty, or killed within its first line
        stream.truncate(0)
        stream.write(first)
        stream.flush()
        return 0
    for line in stream:
        if line.endswith(b"\n"):
            rows, end = rows + 1, end + len(line)
    stream.truncate(end)
    return rows


def _answers(classifier: Classifier, rows: Sequence[Row], column: str) -> list[dict[str, Any]]:
    """Return what is added to each row."""
    texts = [text if isinstance(text := row.fields.get(column), str) else None for row in rows]
    said = iter(classifier.classify([text for text in texts if text is not None]))
    return [
        _answer(next(said) if text is not None else _not_a_text(row, column))
        for row, text in zip(rows, texts, strict=True)
    ]


def _not_a_text(row: Row, column: str) -> UnclassifiableTextError:
    if row.problem:
        return UnclassifiableTextError("not_a_row", f"line {row.number}: {row.problem}.")
    came = type(row.fields.get(column)).__name__
    return UnclassifiableTextError("not_a_text", f"expected {column!r} to be a text, came {came}.")


def _answer(said: Prediction | UnclassifiableTextError) -> dict[str, Any]:
    if not isinstance(said, Prediction):
        return {f"{_PREFIX}error": f"{said.code}: {said}"}
    added = {
        "label": said.label,
        "confidence": round(said.confidence, 6),
        "abstained": said.abstained,
        "act": said.act,
        "set": " ".join(said.prediction_set),
        **{f"p_{label}": round(value, 6) for label, value in said.probabilities.items()},
    }
    return {_PREFIX + name: value for name, value in added.items()}


def _finish(source: Path, out: Path, journal: Path, columns: Sequence[str]) -> int:
    """Write the output from input and journal, put it in place and remove the journal; return the rows with errors."""
    # The ending stays the last part of the name: it says what kind of file to write.
    unfinished = journal.with_name(f"{journal.name}{out.suffix}")
    errors = 0

    def labelled() -> Iterator[dict[str, Any]]:
        nonlocal errors
        with journal.open("rb") as stream:
            stream.readline()
            for row, line in zip(read_rows(source), stream, strict=True):
                answer = json.loads(line)
                errors += f"{_PREFIX}error" in answer
                yield {**row.fields, **answer}

    write_rows(unfinished, labelled(), columns)
    with unfinished.open("rb") as stream:
        os.fsync(stream.fileno())
    unfinished.replace(out)
    journal.unlink()
    return errors
