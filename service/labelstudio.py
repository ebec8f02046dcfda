"""Label Studio's side of things: its labelling configuration, its tasks, and what its annotations say.

Pure functions of what Label Studio sends; they know nothing of HTTP and of databases. The protocol is that of
https://github.com/HumanSignal/label-studio-ml-backend; the events are those of
https://labelstud.io/guide/webhook_reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from xml.parsers import expat

from model.classifier import Prediction
from service.errors import InvalidError
from service.imports import LABEL_STUDIO, Found, label_studio_annotator

__all__ = ["Event", "Question", "find_question", "prediction_of", "read_events"]

_CREATED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED")
_UPDATED = "ANNOTATION_UPDATED"
_DELETED = "ANNOTATIONS_DELETED"


@dataclass(frozen=True)
class Question:
    """What a project asks of each text.

    Attributes:
        from_name: name of the choices.
        to_name: name of the text that they are over.
        field: of a task's data, where the text is.
    """

    from_name: str
    to_name: str
    field: str

    def text_of(self, task: object) -> str | None:
        """Return the text of a task; None where it has none."""
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            return None
        found = data[self.field] if self.field in data else _at_path(data, self.field)
        return found if isinstance(found, str) else None


def _at_path(data: object, path: str) -> object:
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


@dataclass
class _Element:
    tag: str
    attributes: Mapping[str, str]
    choices: list[str] = field(default_factory=list)


def find_question(config: str, labels: Sequence[str]) -> Question:
    """Return the choices over a text that are the labels of the model.

    Args:
        config: the labelling configuration of a project, XML.
        labels: of the model.

    Raises:
        InvalidError: it is no XML, or there are no such choices; the message says which labels are missing.
    """
    elements = _read_elements(config)
    texts = {each.attributes["name"]: each for each in elements if each.tag == "Text" and "name" in each.attributes}
    over_texts = [
        each
        for each in elements
        if each.tag == "Choices" and "name" in each.attributes and each.attributes.get("toName") in texts
    ]
    if not over_texts:
        raise InvalidError("expected <Choices> over a <Text> in the labelling configuration, came none.")
    choices = max(over_texts, key=lambda each: len(set(each.choices) & set(labels)) - len(set(each.choices)))
    _check_choices(choices, labels)
    to_name = choices.attributes["toName"]
    return Question(choices.attributes["name"], to_name, _field_of(texts[to_name]))


def _check_choices(choices: _Element, labels: Sequence[str]) -> None:
    name = choices.attributes["name"]
    if choices.attributes.get("perRegion") == "true":
        raise InvalidError(f"expected choices {name!r} about the whole text, came perRegion; take it out.")
    missing = [label for label in labels if label not in choices.choices]
    unknown = [choice for choice in choices.choices if choice not in labels]
    found = [f"{', '.join(missing)} missing"] if missing else []
    found += [f"{', '.join(unknown)[:200]!r} of none"] if unknown else []
    if found:
        raise InvalidError(
            f"expected as choices {name!r} the labels of the model, {', '.join(labels)}; came {' and '.join(found)}. "
            "Where a choice is to be shown under another name, give the label as its `alias`."
        )


def _field_of(text: _Element) -> str:
    value = text.attributes.get("value", "")
    if not value.startswith("$") or value == "$":
        raise InvalidError(f'expected value="$FIELD" in <Text>, where FIELD is of a task\'s data; came {value[:50]!r}.')
    if text.attributes.get("valueType", "text") != "text":
        raise InvalidError('expected texts in the tasks themselves, came valueType="url"; import the texts.')
    return value[1:]


def _read_elements(config: str) -> list[_Element]:
    """Return every element of a configuration; one that declares a document type, and so could hold entities, is bad.

    Raises:
        InvalidError: it is no XML, or not XML that is taken.
    """
    elements: list[_Element] = []
    open_choices: list[_Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        elements.append(_Element(tag, attributes))
        if tag == "Choices":
            open_choices.append(elements[-1])
        elif tag == "Choice" and open_choices:
            open_choices[-1].choices.append(attributes.get("alias") or attributes.get("value", ""))

    def end(tag: str) -> None:
        if tag == "Choices":
            open_choices.pop()

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(config, True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise InvalidError(f"expected XML as the labelling configuration: {error}.") from error
    return elements


def _refuse_document_type(*_: object) -> None:
    # Entities that expand into one another take any memory, and others read files; a configuration needs neither.
    raise InvalidError("expected a labelling configuration without <!DOCTYPE>, came one with it; take it out.")


def prediction_of(question: Question, answer: object, version: str) -> dict[str, Any]:
    """Return an answer of the model as Label Studio takes it; a text that it cannot classify has no result."""
    if not isinstance(answer, Prediction):
        return {"result": [], "score": 0.0, "model_version": version}
    result = {
        "from_name": question.from_name,
        "to_name": question.to_name,
        "type": "choices",
        "value": {"choices": [answer.label]},
        "score": answer.confidence,
    }
    return {"result": [result], "score": answer.confidence, "model_version": version}


@dataclass(frozen=True)
class Event:
    """What an annotation says now.

    Attributes:
        annotation: its id, which no annotation of another project or Label Studio has.
        found: its text and label; None where it says nothing, or nothing any more.
        corrects: whether what its annotator said before gives way.
    """

    annotation: str
    found: Found | None = None
    corrects: bool = False


def read_events(payload: Mapping[str, Any], labels: Sequence[str]) -> Iterator[Event]:
    """Yield what a webhook tells of annotations; of other things, nothing.

    Raises:
        InvalidError: it is about annotations and does not hold what it should.
    """
    action, project = payload.get("action"), payload.get("project")
    if action not in (*_CREATED, _UPDATED, _DELETED):
        return
    if not isinstance(project, dict):
        raise InvalidError("expected the project of the annotation; turn on `Send payload` of the webhook.")
    if action == _DELETED:
        for annotation in _objects(payload, "annotations"):
            yield Event(_key(project, annotation))
        return
    question = find_question(str(project.get("label_config")), labels)
    annotations, tasks = _objects(payload, "annotation"), _objects(payload, "task")
    if len(annotations) != len(tasks):
        raise InvalidError(f"expected a task for each annotation, came {len(tasks)} for {len(annotations)}.")
    for line, (annotation, task) in enumerate(zip(annotations, tasks, strict=True), start=1):
        yield Event(_key(project, annotation), _found(question, line, annotation, task), action == _UPDATED)


def _objects(payload: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = payload.get(name)
    several: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in several):
        raise InvalidError(f"expected objects under {name!r}; turn on `Send payload` of the webhook.")
    return several


def _key(project: Mapping[str, Any], annotation: Mapping[str, Any]) -> str:
    """Return an id for an annotation; numbers begin anew in every Label Studio, moments of creation do not."""
    numbers = project.get("id"), annotation.get("id")
    if not all(isinstance(number, int) and 0 <= number < 2**63 for number in numbers):
        raise InvalidError(f"expected whole numbers as ids of project and annotation, came {str(numbers)[:100]}.")
    try:
        created_at = int(datetime.fromisoformat(str(project.get("created_at"))).timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidError("expected a moment as `created_at` of the project.") from error
    return f"{LABEL_STUDIO}:{numbers[0]}.{created_at}:{numbers[1]}"


def _found(question: Question, line: int, annotation: Mapping[str, Any], task: Mapping[str, Any]) -> Found | None:
    """Return text and label of an annotation, or what is wrong with them; None where it was skipped or is empty."""
    results = annotation.get("result")
    said = [each for each in results if _answers(question, each)] if isinstance(results, list) else []
    if annotation.get("was_cancelled") or not said:
        return None
    choices = [choice for each in said for choice in _choices(each)]
    if len(choices) != 1 or not isinstance(choices[0], str):
        return Found(line, problem=f"expected one choice of {question.from_name!r}, came {len(choices)}")
    text = question.text_of(task)
    if text is None:
        return Found(line, problem=f"expected a text as {question.field!r} in the data of the task")
    return Found(line, text, choices[0], label_studio_annotator(annotation.get("completed_by")), source=LABEL_STUDIO)


def _answers(question: Question, result: object) -> bool:
    return isinstance(result, dict) and (result.get("from_name"), result.get("type")) == (question.from_name, "choices")


def _choices(result: Mapping[str, Any]) -> list[object]:
    value = result.get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    return choices if isinstance(choices, list) else []
