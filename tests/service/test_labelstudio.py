"""Label Studio's configuration, tasks and annotations, as pure functions."""

from typing import Any

import pytest

from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from model.labels import LABELS
from service.errors import InvalidError
from service.imports import Found
from service.labelstudio import Event, Question, find_question, prediction_of, read_events
from tests.service.labelstudio_bodies import CONFIG, PROJECT, config, deletion, event, result

QUESTION = Question("stance", "statement", "text")
KEY = "label-studio:3.1795521600:7"


def read(payload: dict[str, Any]) -> list[Event]:
    return list(read_events(payload, LABELS))


def test_choices_over_a_text_are_found_with_aliases_as_labels() -> None:
    assert find_question(CONFIG, LABELS) == QUESTION


def test_choices_that_are_the_labels_are_found_among_others() -> None:
    topic = '<Choices name="topic" toName="t"><Choice value="navy"/><Choice value="none"/></Choices>'
    found = find_question(config().replace("<View>", f"<View>{topic}"), LABELS)
    assert found == Question("c", "t", "text")


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("", "expected XML as the labelling configuration: no element found"),
        ("<View>", "expected XML as the labelling configuration"),
        ("\ud800", "expected XML as the labelling configuration"),
        ("<View>&nbsp;</View>", "expected XML as the labelling configuration: undefined entity"),
        ("<View/>", "expected <Choices> over a <Text> in the labelling configuration, came none."),
        (config(attributes='name="c" toName="other"'), "expected <Choices> over a <Text>"),
        (config(attributes='toName="t"'), "expected <Choices> over a <Text>"),
        (config("escalatory", "deterrent"), "came de-escalatory, none missing. Where"),
        (config(*LABELS, "hostile", "mild"), "came 'hostile, mild' of none. Where"),
        (config("deterrent", "none", "hostile"), "came escalatory, de-escalatory missing and 'hostile' of none. Where"),
        (config(attributes='name="c" toName="t" perRegion="true"'), "expected choices 'c' about the whole text"),
        (config(text='name="t" value="text"'), "expected value=\"\\$FIELD\" in <Text>.*; came 'text'"),
        (config(text='name="t"'), 'expected value="\\$FIELD" in <Text>'),
        (config(text='name="t" value="$text" valueType="url"'), "expected texts in the tasks themselves"),
    ],
)
def test_configuration_that_does_not_fit_is_refused_with_what_is_missing(xml: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        find_question(xml, LABELS)


def test_document_type_is_refused_before_an_entity_expands() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "lol">{entities}]><View>&e11;</View>'
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><View>&e;</View>'
    for xml in (bomb, outside, f"<!DOCTYPE View>{CONFIG}"):
        with pytest.raises(InvalidError, match="without <!DOCTYPE>"):
            find_question(xml, LABELS)


def test_deeply_nested_configuration_is_read() -> None:
    depth = 100_000
    choices = "<Choices>" * depth + "</Choices>" * depth
    assert find_question(config().replace("</View>", f"{choices}</View>"), LABELS).from_name == "c"


@pytest.mark.parametrize(
    ("field", "task", "expected"),
    [
        ("text", {"data": {"text": "A."}}, "A."),
        ("a.b", {"data": {"a": {"b": "A."}}}, "A."),
        ("a.b", {"data": {"a.b": "A."}}, "A."),
        ("a.b", {"data": {"a": "A."}}, None),
        ("text", {"data": {"text": 5}}, None),
        ("text", {"data": {}}, None),
        ("text", {"data": "A."}, None),
        ("text", {}, None),
        ("text", "A.", None),
    ],
)
def test_text_of_a_task(field: str, task: object, expected: str | None) -> None:
    assert Question("c", "t", field).text_of(task) == expected


def test_prediction_is_what_label_studio_takes() -> None:
    answer = Prediction("deterrent", 0.9, False, {"deterrent": 0.9, "none": 0.1}, ["deterrent"], 1, {})
    given = {"from_name": "stance", "to_name": "statement", "type": "choices", "value": {"choices": ["deterrent"]}}
    expected = {"result": [given | {"score": 0.9}], "score": 0.9, "model_version": "v"}
    assert prediction_of(QUESTION, answer, "v") == expected


def test_text_that_cannot_be_classified_has_an_empty_result() -> None:
    answer = UnclassifiableTextError("empty", "nothing there")
    assert prediction_of(QUESTION, answer, "v") == {"result": [], "score": 0.0, "model_version": "v"}


@pytest.mark.parametrize(
    ("by", "annotator"),
    [
        (1, "label-studio:1"),
        ({"id": 1, "email": "kim@example.org"}, "label-studio:kim@example.org"),
        ({"id": 1}, "label-studio:1"),
        (None, None),
    ],
)
def test_annotation_is_a_label_of_its_annotator(by: object, annotator: str | None) -> None:
    found = Found(1, "A.", "none", annotator, source="label-studio")
    assert read(event("none", by=by)) == [Event(KEY, found)]
    assert read(event("none", by=by, action="ANNOTATION_UPDATED")) == [Event(KEY, found, corrects=True)]


@pytest.mark.parametrize(
    "payload", [event(), event("none", was_cancelled=True), event("none", result=[result("none", from_name="topic")])]
)
def test_annotation_that_was_skipped_or_is_empty_says_nothing(payload: dict[str, Any]) -> None:
    assert read(payload) == [Event(KEY)]


def test_annotation_that_cannot_be_a_label_says_why() -> None:
    (several,) = read(event("none", "deterrent"))
    assert several.found == Found(1, problem="expected one choice of 'stance', came 2")
    (textless,) = read(event("none") | {"task": {"data": {}}})
    assert textless.found == Found(1, problem="expected a text as 'text' in the data of the task")


def test_several_annotations_come_with_a_task_each() -> None:
    one, two = event("none", number=7), event("deterrent", number=8, text="B.")
    both = {name: [one[name], two[name]] for name in ("annotation", "task")}
    events = read({"action": "ANNOTATIONS_CREATED", "project": PROJECT} | both)
    assert [each.annotation[-2:] for each in events] == [":7", ":8"]
    assert [(each.found.text, each.found.label) for each in events if each.found] == [
        ("A.", "none"),
        ("B.", "deterrent"),
    ]
    with pytest.raises(InvalidError, match="expected a task for each annotation, came 1 for 2"):
        read({"action": "ANNOTATIONS_CREATED", "project": PROJECT} | both | {"task": one["task"]})


def test_deleted_annotations_say_nothing_any_more() -> None:
    assert [each.annotation for each in read(deletion(7, 8))] == [KEY, f"{KEY[:-1]}8"]


def test_annotation_is_told_from_that_of_another_label_studio() -> None:
    other = event("none") | {"project": PROJECT | {"created_at": "2026-11-25T12:00:00Z"}}
    assert read(other)[0].annotation != read(event("none"))[0].annotation
    same = event("none") | {"project": PROJECT | {"created_at": "2026-11-24T13:00:00+01:00"}}
    assert read(same)[0].annotation == KEY


@pytest.mark.parametrize("action", ["PROJECT_UPDATED", "TASKS_CREATED", "START_TRAINING", "", None, 5])
def test_other_events_are_of_no_annotation(action: object) -> None:
    assert read({"action": action, "annotation": "whatever"}) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"project": None}, "turn on `Send payload`"),
        ({"annotation": None}, "turn on `Send payload`"),
        ({"task": [5]}, "expected objects under 'task'"),
        ({"project": PROJECT | {"id": "3"}}, "expected whole numbers as ids"),
        ({"project": PROJECT | {"created_at": "yesterday"}}, "expected a moment as `created_at`"),
        ({"project": PROJECT | {"label_config": None}}, "expected XML as the labelling configuration"),
        ({"annotation": {"result": []}}, "expected whole numbers as ids"),
    ],
)
def test_event_that_lacks_what_it_should_hold_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        read(event("none") | fields)


@pytest.mark.parametrize("results", [None, 5, [5], [{}], [{"from_name": "stance", "type": "choices"}]])
def test_results_of_any_shape_are_no_fault(results: Any) -> None:
    (found,) = read(event("none", result=results))
    assert found.found is None or found.found.problem == "expected one choice of 'stance', came 0"
