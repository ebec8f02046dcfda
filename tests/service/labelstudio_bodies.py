"""What Label Studio sends, as the real one does; see tests/labelstudio.py."""

from typing import Any

from model.labels import LABELS

CONFIG = """<View>
  <Text name="statement" value="$text"/>
  <Choices name="stance" toName="statement" choice="single">
    <Choice value="Escalatory" alias="escalatory"/><Choice value="deterrent"/>
    <Choice value="de-escalatory"/><Choice value="none"/>
  </Choices>
</View>"""

PROJECT = {"id": 3, "created_at": "2026-11-24T12:00:00.123456Z", "label_config": CONFIG, "title": "Stances"}


def config(*choices: str, text: str = 'name="t" value="$text"', attributes: str = 'name="c" toName="t"') -> str:
    inside = "".join(f'<Choice value="{choice}"/>' for choice in choices or LABELS)
    return f"<View><Text {text}/><Choices {attributes}>{inside}</Choices></View>"


def result(*choices: str, from_name: str = "stance") -> dict[str, Any]:
    value = {"choices": list(choices)}
    return {"id": "x", "from_name": from_name, "to_name": "statement", "type": "choices", "value": value}


def event(
    *choices: str, text: str = "A.", action: str = "ANNOTATION_CREATED", number: int = 7, by: object = 1, **fields: Any
) -> dict[str, Any]:
    """Return an event of one annotation, which says the first choice, or nothing without any."""
    results = [result(*choices)] if choices else []
    annotation = {"id": number, "result": results, "completed_by": by, "was_cancelled": False} | fields
    task = {"id": 5, "data": {"text": text}, "project": 3}
    return {"action": action, "annotation": annotation, "task": task, "project": PROJECT}


def deletion(*numbers: int) -> dict[str, Any]:
    annotations = [{"id": number} for number in numbers]
    return {"action": "ANNOTATIONS_DELETED", "annotations": annotations, "project": PROJECT}
