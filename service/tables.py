"""Files of rows, read and written a few rows at a time: CSV, JSON Lines and Parquet, by the ending of the name."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from service.errors import TableError

__all__ = ["KINDS", "Row", "batches", "check_writable", "read_rows", "scan", "write_rows"]

_BATCH = 1024


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: of the row, from 1; of a JSON Lines file the line.
        fields: by name; empty where the row cannot be read.
        problem: why it cannot be read; None where it can.
    """

    number: int
    fields: Mapping[str, Any]
    problem: str | None = None


def batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items, the last one shorter."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _kind(path: Path) -> str:
    kind = {".ndjson": ".jsonl"}.get(path.suffix.lower(), path.suffix.lower())
    if kind not in KINDS:
        raise TableError(f"{path}: expected a name that ends in {', '.join(KINDS)} or .ndjson.")
    return kind


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in their order.

    Raises:
        TableError: there is no such file, or it is not what its name says. A single line of JSON Lines that is no
            object is no error but a row with a problem.
    """
    reader = _READERS[_kind(path)]
    try:
        yield from reader(path)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default refuses fields of 131,073 characters for the whole file
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            names = next(reader, [])
            if not names or len(set(names)) < len(names):
                raise TableError(f"{path}: expected a first line of different column names, came {names}.")
            for number, values in enumerate((row for row in reader if row), start=1):
                if len(values) != len(names):
                    raise TableError(
                        f"{path}, line {reader.line_num}: expected {len(names)} columns as in the first line, came "
                        f"{len(values)}."
                    )
                yield Row(number, dict(zip(names, values, strict=True)))
        except UnicodeDecodeError as error:
            raise TableError(f"{path}: expected UTF-8 ({error}); save it as such.") from error
        except csv.Error as error:
            raise TableError(f"{path}, line {reader.line_num}: not CSV ({error}).") from error


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                yield Row(number, {}, f"expected a JSON object in UTF-8 ({error})")
                continue
            if isinstance(fields, dict):
                yield Row(number, fields)
            else:
                yield Row(number, {}, f"expected a JSON object, came {type(fields).__name__}")


def _read_parquet(path: Path) -> Iterator[Row]:
    parquet = _parquet()
    from pyarrow import ArrowException

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(_BATCH):
            for fields in batch.to_pylist():
                number += 1
                yield Row(number, fields)
    except (ArrowException, ValueError) as error:
        raise TableError(f"{path} is no Parquet file: {error}.") from error


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise TableError("Parquet needs the package pyarrow; run `pip install 'brink[parquet]'`.") from None
    return pyarrow.parquet


def scan(path: Path) -> tuple[list[str], int]:
    """Return the names of all columns, in the order in which they first occur, and the number of rows."""
    columns: dict[str, None] = {}
    count = 0
    for row in read_rows(path):
        columns |= dict.fromkeys(row.fields)
        count += 1
    return list(columns), count


def check_writable(path: Path) -> None:
    """Raise `TableError` where a file of that name cannot be written: before hours of work, not after."""
    if _kind(path) == ".parquet":
        _parquet()
    if not path.parent.is_dir():
        raise TableError(f"{path} cannot be written: there is no folder {path.parent}.")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows to a new file a few at a time; what `columns` does not name is left out of all but JSON Lines.

    Raises:
        TableError: a value cannot be written to that kind of file.
    """
    with _WRITERS[_kind(path)](path, columns) as write:
        for batch in batches(rows, _BATCH):
            write(batch)


Write = Callable[[list[Mapping[str, Any]]], None]


@contextmanager
def _csv_writer(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    # What is no Unicode, as JSON may hold it, is written as its escape: one such row is no reason to lose the others.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()

        def write(batch: list[Mapping[str, Any]]) -> None:
            writer.writerows({name: _csv_value(value) for name, value in row.items()} for row in batch)

        yield write


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


@contextmanager
def _jsonl_writer(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as stream:

        def write(batch: list[Mapping[str, Any]]) -> None:
            stream.writelines(json.dumps(row, default=str) + "\n" for row in batch)

        yield write


@contextmanager
def _parquet_writer(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    parquet = _parquet()
    import pyarrow

    writer: Any = None

    def write(batch: list[Mapping[str, Any]]) -> None:
        nonlocal writer
        rows = [{name: row.get(name) for name in columns} for row in batch]
        try:
            table = pyarrow.Table.from_pylist(rows, schema=writer.schema if writer else _schema(rows, columns))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise TableError(
                f"{path}: a column holds values of several types, which Parquet cannot ({error}); write .jsonl."
            ) from error
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
        if writer is None:
            write([])
    finally:
        if writer is not None:
            writer.close()


def _schema(rows: list[dict[str, Any]], columns: Sequence[str]) -> Any:
    """Return the types of the first rows; a column that is null in all of them is of text."""
    import pyarrow

    types = {name: pyarrow.array([row[name] for row in rows]).type for name in columns}
    return pyarrow.schema(
        [(name, pyarrow.string() if pyarrow.types.is_null(each) else each) for name, each in types.items()]
    )


_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
_WRITERS: Mapping[str, Callable[[Path, Sequence[str]], AbstractContextManager[Write]]] = {
    ".csv": _csv_writer,
    ".jsonl": _jsonl_writer,
    ".parquet": _parquet_writer,
}

KINDS = tuple(_READERS)
"""Endings of the names of files that are read and written."""
