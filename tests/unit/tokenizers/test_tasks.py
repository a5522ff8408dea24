import pytest

from neuroleon.tokenizers.tasks import MAX_TASKS, TASKS, Task
from neuroleon.tokenizers.vocabulary import MODALITIES, SPECIAL_IDS

PAIRS = ["eeg2image", "eeg2text", "eeg2both", "text2image", "image2text", "text2eeg", "image2eeg", "eeg2label"]
NAMES = [*PAIRS, "eeg", "image", "text"]


def test_the_table_begins_with_the_first_tasks_in_their_order() -> None:
    """A task's place is its id: the table only grows at its end."""
    assert list(TASKS)[: len(NAMES)] == NAMES
    assert len(TASKS) <= MAX_TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_task_is_well_formed(task: Task) -> None:
    assert task.outputs
    assert set(task.modalities) <= set(MODALITIES)
    assert len(set(task.modalities)) == len(task.modalities)
    assert f"<task:{task.name}>" in SPECIAL_IDS
    if not task.asks_question:
        assert 4 <= len(set(task.instructions)) == len(task.instructions) <= 8


def test_only_labels_are_asked_for_by_question() -> None:
    assert [t.name for t in TASKS.values() if t.asks_question] == ["eeg2label"]
    assert TASKS["eeg2label"].text == "label_text"
