"""Labels that follow annotations in other tools, on both databases."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from service.annotations import Annotations
from service.database import Database
from service.errors import MissingError
from service.store import Filters, Labelled, Outcome, Store


class Followed:
    """Annotations and the statements that they label."""

    def __init__(self, database: Database) -> None:
        self.annotations, self.store = Annotations(database), Store(database)

    def say(self, key: str, label: str, text: str = "A.", by: str = "ann", corrects: bool = False) -> Outcome:
        return self.annotations.follow(key, Labelled(text, label, by, source="tool"), "kim", corrects)

    def labels(self) -> dict[str, list[tuple[str, str]]]:
        found = self.store.find(Filters())
        return {each.text: [(label.annotator, label.label) for label in each.labels] for each in found}

    def actions(self, id_: str) -> list[str]:
        return [each["action"] for each in self.store.history(id_)]


@pytest.fixture
def followed(database_url: str) -> Iterator[Followed]:
    with closing(Database(database_url)) as database:
        yield Followed(database)


def test_same_annotation_again_adds_nothing(followed: Followed) -> None:
    outcomes = [followed.say("1", "none", corrects=corrects) for corrects in (False, False, True)]
    assert [each.status for each in outcomes] == ["accepted", "duplicate", "duplicate"]
    assert followed.labels() == {"A.": [("ann", "none")]}
    assert followed.actions(outcomes[0].id) == ["add"]


def test_changed_annotation_corrects_its_label_and_leaves_a_trace(followed: Followed) -> None:
    id_ = followed.say("1", "none").id
    assert followed.say("1", "deterrent", corrects=True).status == "accepted"
    assert followed.labels() == {"A.": [("ann", "deterrent")]}
    added, corrected = followed.store.history(id_)
    assert (corrected["action"], corrected["who"]) == ("correct", "kim")
    assert (corrected["before"], corrected["after"]["label"]) == (added["after"], "deterrent")


def test_late_news_of_a_new_annotation_does_not_undo_its_correction(followed: Followed) -> None:
    followed.say("1", "none")
    followed.say("1", "deterrent", corrects=True)
    assert followed.say("1", "none").status == "conflicting"
    assert followed.labels() == {"A.": [("ann", "deterrent")]}


def test_annotation_changed_before_it_was_known_is_added(followed: Followed) -> None:
    assert followed.say("1", "none", corrects=True).status == "accepted"
    assert followed.labels() == {"A.": [("ann", "none")]}
    followed.annotations.take_back("1", "lee")
    assert followed.labels() == {}


def test_annotation_taken_back_takes_its_label_along(followed: Followed) -> None:
    id_ = followed.say("1", "none").id
    followed.say("2", "deterrent", by="bob")
    assert followed.annotations.take_back("1", "lee") == id_
    assert followed.labels() == {"A.": [("bob", "deterrent")]}
    assert followed.store.get(id_).label == "deterrent"
    assert followed.annotations.take_back("1", "lee") is None
    assert followed.annotations.take_back("2", "lee") == id_
    with pytest.raises(MissingError):
        followed.store.get(id_)
    assert followed.actions(id_) == ["add", "add", "withdraw", "withdraw"]
    assert followed.store.history(id_)[-1]["after"] is None
    assert followed.say("3", "none").status == "accepted"


def test_settled_statement_outlives_its_labels(followed: Followed) -> None:
    id_ = followed.say("1", "none").id
    followed.store.settle(id_, "deterrent", None, "lee")
    followed.annotations.take_back("1", "lee")
    found = followed.store.get(id_)
    assert (found.status, found.label, found.labels) == ("settled", "deterrent", [])


def test_label_that_two_annotations_give_goes_with_the_last(followed: Followed) -> None:
    followed.say("1", "none")
    assert followed.say("2", "none", text=" A. ").status == "duplicate"
    followed.annotations.take_back("1", "lee")
    assert followed.labels() == {"A.": [("ann", "none")]}
    followed.annotations.take_back("2", "lee")
    assert followed.labels() == {}


def test_conflicting_annotation_holds_nothing(followed: Followed) -> None:
    followed.say("1", "none")
    assert followed.say("2", "deterrent").status == "conflicting"
    assert followed.annotations.take_back("2", "lee") is None
    assert followed.labels() == {"A.": [("ann", "none")]}


def test_annotation_of_a_text_that_was_changed_leaves_the_old_one(followed: Followed) -> None:
    old = followed.say("1", "none").id
    new = followed.say("1", "none", text="B.", corrects=True).id
    assert followed.labels() == {"B.": [("ann", "none")]}
    assert followed.actions(old) == ["add", "withdraw"]
    assert followed.actions(new) == ["add"]


def test_statement_that_was_deleted_may_come_again(followed: Followed) -> None:
    followed.store.delete(followed.say("1", "none").id, "lee")
    assert followed.annotations.take_back("1", "lee") is None
    assert followed.say("1", "none").status == "accepted"
    assert followed.labels() == {"A.": [("ann", "none")]}
