import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from model.labels import text_digest
from service.database import Database
from service.errors import ConflictError, DatabaseError, MissingError
from service.records import Record
from service.store import Filters, Labelled, Store

ALL = Filters()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def said(text: str, label: str, annotator: str = "ann", act: str | None = None, source: str | None = None) -> Labelled:
    return Labelled(text, label, annotator, act, source)


def test_tables_are_those_that_the_program_expects(database: Database) -> None:
    database.migrate()
    with database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Record.metadata) == []


def test_added_row_comes_back(store: Store) -> None:
    (outcome,) = store.add([said("  We will\n strike. ", "escalatory", act="attack", source="desk")], "kim")
    assert (outcome.status, outcome.reason) == ("accepted", None)
    found = store.get(outcome.id)
    assert found.id == text_digest("We will strike.")[:32]
    assert (found.text, found.source, found.status) == ("We will strike.", "desk", "agreed")
    assert (found.label, found.act, found.created_by) == ("escalatory", "attack", "kim")
    (label,) = found.labels
    assert (label.annotator, label.label, label.act) == ("ann", "escalatory", "attack")
    for moment in (found.created_at, label.changed_at):
        assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=1)


def test_same_rows_again_add_nothing(store: Store) -> None:
    rows = [said(f"Statement {index}.", "none") for index in range(1200)]
    assert {each.status for each in store.add(rows, "kim")} == {"accepted"}
    assert {each.status for each in store.add(rows, "kim")} == {"duplicate"}
    assert store.count(ALL) == 1200
    assert len(store.history(store.find(ALL)[0].id)) == 1


def test_row_twice_in_one_upload_is_one(store: Store) -> None:
    outcomes = store.add([said("A.", "none"), said(" A. ", "none"), said("A.", "deterrent")], "kim")
    assert [each.status for each in outcomes] == ["accepted", "duplicate", "conflicting"]
    assert store.count(ALL) == 1


def test_conflict_leaves_what_was_said(store: Store) -> None:
    store.add([said("A.", "none")], "kim")
    (outcome,) = store.add([said("A.", "deterrent")], "kim")
    assert outcome.status == "conflicting"
    corrects = f'PATCH /v1/statements/{outcome.id} with "annotator": "ann" corrects it.'
    assert outcome.reason == f"ann has said none of this text; {corrects}"
    assert store.get(outcome.id).label == "none"


def test_annotators_who_differ_leave_the_statement_without_a_label_until_it_is_settled(store: Store) -> None:
    (first,) = store.add([said("A.", "none", "ann", "report")], "kim")
    (second,) = store.add([said("A.", "deterrent", "bob", "warn")], "kim")
    assert (second.status, second.id) == ("accepted", first.id)
    found = store.get(first.id)
    assert (found.status, found.label, found.act) == ("disagreed", None, None)
    assert [each.id for each in store.find(Filters(status="disagreed"))] == [first.id]
    settled = store.settle(first.id, "deterrent", "warn", "lee")
    assert (settled.status, settled.label, settled.act) == ("settled", "deterrent", "warn")
    store.add([said("A.", "escalatory", "cem")], "kim")  # one more opinion does not unsettle it
    assert store.get(first.id).label == "deterrent"
    assert store.reopen(first.id, "lee").status == "disagreed"
    with pytest.raises(ConflictError, match="is not settled"):
        store.reopen(first.id, "lee")


def test_same_label_for_other_reasons_is_agreed_without_an_act(store: Store) -> None:
    store.add([said("A.", "none", "ann", "report"), said("A.", "none", "bob", "assess")], "kim")
    (found,) = store.find(ALL)
    assert (found.status, found.label, found.act) == ("agreed", "none", None)


def test_correction_replaces_a_label_and_leaves_a_trace(store: Store) -> None:
    (outcome,) = store.add([said("A.", "none", act="report")], "kim")
    corrected = store.correct(outcome.id, "ann", "deterrent", "warn", "lee")
    assert (corrected.label, corrected.act, len(corrected.labels)) == ("deterrent", "warn", 1)
    assert store.get(outcome.id) == corrected
    added, changed = store.history(outcome.id)
    assert (added["action"], added["who"], added["before"]) == ("add", "kim", None)
    assert (changed["action"], changed["who"]) == ("correct", "lee")
    assert changed["before"] == added["after"]
    assert changed["before"]["labels"][0]["label"] == "none"
    assert changed["after"]["labels"][0]["label"] == "deterrent"


def test_deleted_statement_is_gone_and_its_history_stays(store: Store) -> None:
    (outcome,) = store.add([said("A.", "none")], "kim")
    store.delete(outcome.id, "lee")
    with pytest.raises(MissingError, match="there is no statement"):
        store.get(outcome.id)
    assert store.count(ALL) == 0
    deleted = store.history(outcome.id)[-1]
    assert (deleted["action"], deleted["who"], deleted["after"]) == ("delete", "lee", None)
    assert deleted["before"]["text"] == "A."
    assert store.add([said("A.", "none")], "kim")[0].status == "accepted"


@pytest.mark.parametrize("id_", ["", "0", "f" * 32, "%", "_" * 32, "' OR 1=1 --"])
def test_unknown_id_is_missing(store: Store, id_: str) -> None:
    store.add([said("A.", "none")], "kim")
    for method in (store.get, store.history):
        with pytest.raises(MissingError):
            method(id_)


def test_filters_and_pages(store: Store) -> None:
    rows = [
        said(f"Text {index} 100%", "none" if index % 2 else "deterrent", f"ann{index % 3}", source=f"desk{index % 5}")
        for index in range(30)
    ]
    store.add(rows, "kim")
    assert store.count(Filters(label="none")) == 15
    assert store.count(Filters(label="none", source="desk1")) == 3
    assert store.count(Filters(annotator="ann2")) == 10
    assert [each.text for each in store.find(Filters(contains="TEXT 7 "))] == ["Text 7 100%"]
    assert store.count(Filters(contains="100%")) == 30
    assert store.count(Filters(contains="%7%")) == 0
    pages, after = [], 0
    while page := store.find(ALL, after, 7):
        pages.append([each.text for each in page])
        after = page[-1].number
    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    assert [text for page in pages for text in page] == [row.text for row in rows]


def test_export_holds_what_has_a_label(store: Store) -> None:
    store.add([said(f"T {index}", "none") for index in range(1100)], "kim")
    store.add([said("T 5", "deterrent", "bob")], "kim")
    exported = list(store.export(ALL))
    assert len(exported) == 1099
    assert "T 5" not in {each.text for each in exported}


def test_agreement_is_that_of_the_statements_that_several_have_labelled(store: Store) -> None:
    nothing = store.agreement()
    assert (nothing.statements, nothing.alpha, nothing.alpha_of, nothing.disagreed) == (0, None, {}, 0)
    for annotator, labels in {"ann": "nnnddd", "bob": "nnnddn", "cem": "nn"}.items():
        rows = [
            said(f"T {index}", {"n": "none", "d": "deterrent"}[label], annotator) for index, label in enumerate(labels)
        ]
        store.add([*rows, said(f"only {annotator}", "escalatory", annotator)], "kim")
    found = store.agreement()
    assert (found.statements, found.disagreed) == (6, 1)
    assert found.alpha_of.keys() == {"none", "deterrent"}
    assert found.alpha is not None
    assert 0.6 < found.alpha < 1.0


def test_writers_at_once_lose_nothing_and_double_nothing(database_url: str) -> None:
    texts = [f"Statement {index}." for index in range(60)]

    def write(annotator: str) -> list[str]:
        order = random.Random(annotator).sample(texts, len(texts))
        batches = [[said(text, "none", annotator) for text in order[start : start + 6]] for start in range(0, 60, 6)]
        with closing(Database(database_url)) as database:  # as another process would; the first creates the tables
            return [each.status for batch in batches for each in Store(database).add(batch, "kim")]

    with ThreadPoolExecutor(4) as executor:
        outcomes = list(executor.map(write, ["ann", "bob", "cem", "dan"]))
    assert {status for each in outcomes for status in each} == {"accepted"}
    with closing(Database(database_url)) as database:
        store = Store(database)
        assert store.count(ALL) == 60
        assert all(len(each.labels) == 4 and each.status == "agreed" for each in store.find(ALL))


def test_reader_sees_nothing_of_an_upload_that_is_not_finished(store: Store, database: Database) -> None:
    store.add([said("A.", "none")], "kim")
    with database.writing() as session:
        session.execute(sqlalchemy.text("UPDATE statements SET label = 'deterrent'"))
        seen: list[str | None] = []
        reader = threading.Thread(target=lambda: seen.append(store.find(ALL)[0].label))
        reader.start()
        reader.join(10)
        assert seen == ["none"]
        session.rollback()
    assert store.find(ALL)[0].label == "none"


def test_upload_that_fails_leaves_nothing(store: Store) -> None:
    # More than one chunk, and the last row is one that no caller may send.
    rows = [said(f"T {index}", "none") for index in range(1100)]
    bad = [*rows, Labelled("C.", None, "ann")]  # type: ignore[arg-type]
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        store.add(bad, "kim")
    assert store.count(ALL) == 0


@pytest.mark.parametrize("url", ["", "nonsense", "oracle://x/y", "mysql+nodriver://x"])
def test_url_that_fits_no_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="expected a database URL such as"):
        Database(url)


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/brink.db", "postgresql://brink@127.0.0.1:1/none"])
def test_database_that_cannot_be_reached_is_said_to_be(url: str) -> None:
    with closing(Database(url)) as database, pytest.raises(DatabaseError, match="the database cannot be used now"):
        Store(database).count(ALL)
