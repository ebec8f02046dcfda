"""Labelled statements in the files of others, recognised by their content: rows of text, label and annotator.

Known are plain rows (`text`, `label`, and if there are any `act`, `annotator`, `source`) as CSV, JSON, JSON Lines or
Parquet, and the exports of Label Studio (JSON, JSON-MIN, CSV), doccano (JSONL, CSV), Prodigy (JSONL of textcat and
choice) and Argilla (JSON of either generation). Knows nothing of label sets and databases.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidError

__all__ = ["LABEL_STUDIO", "MAX_LABELS", "Found", "label_studio_annotator", "read_upload"]

LABEL_STUDIO = "label-studio"
"""Source of the statements that come from Label Studio, and beginning of its annotators' names."""

MAX_LABELS = 20_000
"""Most labels of one upload: all are added in one transaction, for which every other writer waits."""


@dataclass(frozen=True)
class Found:
    """One label of one text in an upload, or what is wrong with a row.

    Attributes:
        line: of the upload, from 1; in a JSON array the place of the row.
        text: None where there is a problem.
        label: likewise.
        annotator: None where the upload does not say.
        act: None where the upload does not say.
        source: None where the upload does not say.
        problem: why there is no label here.
    """

    line: int
    text: str | None = None
    label: str | None = None
    annotator: str | None = None
    act: str | None = None
    source: str | None = None
    problem: str | None = None


def read_upload(content: bytes) -> Iterator[Found]:
    """Yield every label of an upload.

    Raises:
        InvalidError: it is none of the kinds that are known, or has more than `MAX_LABELS`.
    """
    for number, found in enumerate(_found(content), start=1):
        if number > MAX_LABELS:
            raise InvalidError(f"expected at most {MAX_LABELS:,} labels, came more; send several uploads.")
        yield found


def _found(content: bytes) -> Iterator[Found]:
    for line, row, problem in _rows(content):
        if problem is not None:
            yield Found(line, problem=problem)
            continue
        for found in _labels(row):
            yield Found(line, **found) if found else Found(line, problem=_NOTHING)


_NOTHING = "expected `text` and `label`, came a row without"

# Rows unpacked at once: a value that is repeated takes hardly any room in a file, and all of it in memory.
_PARQUET_BATCH = 16

Rows = Iterator[tuple[int, Mapping[str, Any], str | None]]


def _rows(content: bytes) -> Rows:
    if content.startswith(b"PAR1"):
        return _parquet_rows(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(f"expected UTF-8 or Parquet: byte {error.start} is neither.") from error
    if text.lstrip().startswith("["):
        return _array_rows(text)
    if text.lstrip().startswith("{"):
        return _object_rows(text)
    return _csv_rows(text)


def _parquet_rows(content: bytes) -> Rows:
    try:
        from pyarrow import ArrowException, BufferReader, parquet
    except ImportError:
        raise InvalidError("Parquet needs the package pyarrow; run `pip install 'brink[parquet]'`.") from None
    try:
        file = parquet.ParquetFile(BufferReader(content))
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise InvalidError(f"expected different names of columns, came {', '.join(names)[:100]!r}.")
        if file.metadata.num_rows > MAX_LABELS:
            raise InvalidError(f"expected at most {MAX_LABELS:,} rows, came {file.metadata.num_rows:,}.")
        rows = (row for batch in file.iter_batches(_PARQUET_BATCH) for row in batch.to_pylist())
        for line, row in enumerate(rows, start=1):
            yield line, row, None
    except (ArrowException, OSError, ValueError, OverflowError) as error:  # the last: a date that Python has not
        raise InvalidError(f"it begins as Parquet does and cannot be read: {error}.") from error


def _array_rows(text: str) -> Rows:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"it begins as a JSON array does and is none: {error}.") from error
    return _objects((line, row) for line, row in enumerate(rows, start=1))


def _object_rows(text: str) -> Rows:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):  # more than one object: lines
        return _line_rows(text)
    rows = whole.get("statements", whole.get("records"))
    return _objects((line, row) for line, row in enumerate(rows if isinstance(rows, list) else [whole], start=1))


def _objects(rows: Iterator[tuple[int, Any]]) -> Rows:
    for line, row in rows:
        is_object = isinstance(row, dict)
        yield line, row if is_object else {}, None if is_object else f"expected an object, came {type(row).__name__}"


def _line_rows(text: str) -> Rows:
    # Not splitlines: a text may hold other separators of lines, which JSON does not escape.
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError) as error:
            yield line, {}, f"expected JSON ({error})"
            continue
        yield from _objects(iter([(line, row)]))


def _csv_rows(text: str) -> Rows:
    csv.field_size_limit(sys.maxsize)  # a text that is too long is one row's fault, not the whole file's
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names) or len(names) < 2:
            raise InvalidError(
                "expected CSV with a first line of column names, JSON, JSON Lines or Parquet; came a first line "
                f"{', '.join(names)[:100]!r}."
            )
        for values in filter(None, reader):
            fits = len(values) == len(names)
            problem = None if fits else f"expected {len(names)} columns, came {len(values)}"
            yield reader.line_num, dict(zip(names, values, strict=False)), problem
    except csv.Error as error:
        raise InvalidError(f"line {reader.line_num} is not CSV ({error}).") from error


Fields = dict[str, Any]


def _labels(row: Mapping[str, Any]) -> Sequence[Fields]:
    """Return the labels of one row, by the kind of tool whose keys it has; an empty one where it has none."""
    if isinstance(row.get("annotations"), list) and isinstance(row.get("data"), dict):
        return _of_label_studio(row)
    if isinstance(row.get("fields"), dict):
        return _of_argilla(row)
    if "annotation_agent" in row and "annotation" in row:
        return [_field(row.get("text"), row["annotation"], row["annotation_agent"])]
    if "answer" in row and ("_input_hash" in row or "accept" in row or row["answer"] in _PRODIGY_ANSWERS):
        return [_of_prodigy(row)]
    return [_of_plain(row)]


_PRODIGY_ANSWERS = ("accept", "reject", "ignore")


def _field(text: object, label: object, annotator: object = None, act: object = None, source: object = None) -> Fields:
    """Return what a label needs, or nothing where text or label is not there."""
    if isinstance(label, list):  # tools that allow several; one is what we can take
        label = label[0] if len(label) == 1 else None
    if not isinstance(text, str) or not isinstance(label, str) or not label.strip():
        return {}
    named = {"annotator": annotator, "act": act, "source": source}
    return {"text": text, "label": label.strip()} | {
        name: str(value).strip() for name, value in named.items() if value is not None and str(value).strip()
    }


def _of_plain(row: Mapping[str, Any]) -> Fields:
    label, annotator, source = row.get("label"), row.get("annotator"), row.get("source")
    if "annotation_id" in row:
        # Label Studio's JSON-MIN and CSV name the column after the control; it is the one that is not of the task.
        others = [name for name in row if name not in _OF_A_TASK]
        label = row[others[0]] if label is None and len(others) == 1 else label
        annotator, source = label_studio_annotator(annotator), source or LABEL_STUDIO
    return _field(row.get("text"), label, annotator, row.get("act"), source)


_OF_A_TASK = {"text", "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}


def _of_label_studio(task: Mapping[str, Any]) -> list[Fields]:
    found = []
    for annotation in filter(_is_object, task["annotations"]):
        if annotation.get("was_cancelled"):
            continue
        annotator = label_studio_annotator(annotation.get("completed_by"))
        for result in filter(_is_object, _list(annotation.get("result"))):
            if result.get("type") == "choices" and isinstance(result.get("value"), dict):
                choices = result["value"].get("choices")
                found.append(_field(task["data"].get("text"), choices, annotator, source=LABEL_STUDIO))
    return found or [{}]


def label_studio_annotator(by: object) -> str | None:
    """Return what an annotator of Label Studio is called here, by whichever way the label comes."""
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return f"{LABEL_STUDIO}:{by}" if by not in (None, "") else None


def _of_argilla(record: Mapping[str, Any]) -> list[Fields]:
    found = []
    questions = record.get("responses")
    for responses in questions.values() if isinstance(questions, dict) else ():
        for response in filter(_is_object, responses if isinstance(responses, list) else [responses]):
            found.append(_field(record["fields"].get("text"), response.get("value"), response.get("user_id")))
    return found or [{}]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _of_prodigy(row: Mapping[str, Any]) -> Fields:
    if row["answer"] != "accept":  # a rejected label says what it is not
        return {}
    return _field(row.get("text"), row.get("accept", row.get("label")), row.get("_annotator_id"))
