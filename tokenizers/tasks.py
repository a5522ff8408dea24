"""The tasks: which modalities a document holds, in which order, and how a person would ask for it.

The table is append-only: a task's place in it is its special id (`vocabulary.py`), so a new task goes to the end.
"""

from dataclasses import dataclass
from typing import Literal

MAX_TASKS = 64


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of document: `inputs`, then `outputs`, each a tuple of "text", "image" or "eeg".

    `instructions` are the wordings to choose from; a task without any is asked with the sample's own question. `text`
    names the field of a sample that its text span is taken from.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instructions: tuple[str, ...]
    text: Literal["texts", "label_text"] = "texts"

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.inputs + self.outputs

    @property
    def asks_question(self) -> bool:
        """Whether the instruction is the sample's own question."""
        return not self.instructions


_TABLE = (
    Task(
        name="eeg2image",
        inputs=("eeg",),
        outputs=("image",),
        instructions=(
            "Draw what this person was looking at.",
            "Reconstruct the picture seen during this EEG recording.",
            "Show the image that evoked this brain activity.",
            "Turn this brain recording into the picture behind it.",
            "Which picture was on the screen? Draw it.",
        ),
    ),
    Task(
        name="eeg2text",
        inputs=("eeg",),
        outputs=("text",),
        instructions=(
            "Describe what this person was seeing or doing.",
            "Write in words what this EEG recording is about.",
            "Say what was happening during this brain recording.",
            "Put this brain activity into a sentence.",
            "What does this EEG show? Answer with one sentence.",
        ),
    ),
    Task(
        name="eeg2both",
        inputs=("eeg",),
        outputs=("text", "image"),
        instructions=(
            "Describe what this person was seeing, then draw it.",
            "Say what evoked this EEG, and show the picture.",
            "Write a caption for this brain recording and draw the picture that belongs to it.",
            "From this brain activity, give first a description and then an image.",
        ),
    ),
    Task(
        name="text2image",
        inputs=("text",),
        outputs=("image",),
        instructions=(
            "Draw this.",
            "Make a picture of the following description.",
            "Show an image that fits these words.",
            "Paint what the sentence says.",
            "Generate a picture from this caption.",
        ),
    ),
    Task(
        name="image2text",
        inputs=("image",),
        outputs=("text",),
        instructions=(
            "Describe the given picture.",
            "Write a caption for this image.",
            "What can be seen here?",
            "Say in one sentence what the picture shows.",
            "Put this image into words.",
        ),
    ),
    Task(
        name="text2eeg",
        inputs=("text",),
        outputs=("eeg",),
        instructions=(
            "Produce the EEG of a person to whom this happens.",
            "Simulate the brain activity that belongs to this description.",
            "Write the EEG recording that this sentence describes.",
            "How would the brain respond? Generate the recording.",
        ),
    ),
    Task(
        name="image2eeg",
        inputs=("image",),
        outputs=("eeg",),
        instructions=(
            "Produce the EEG of a person who looks at this picture.",
            "Simulate the brain's response to this image.",
            "Which brain activity would this picture evoke? Generate it.",
            "Write the EEG recording made while this image was on the screen.",
        ),
    ),
    Task(name="eeg2label", inputs=("eeg",), outputs=("text",), instructions=(), text="label_text"),
    Task(
        name="eeg",
        inputs=(),
        outputs=("eeg",),
        instructions=(
            "Produce an EEG recording.",
            "Generate a stretch of brain activity.",
            "Write an EEG signal.",
            "Simulate a person's EEG.",
        ),
    ),
    Task(
        name="image",
        inputs=(),
        outputs=("image",),
        instructions=("Draw a picture.", "Make an image.", "Show any picture.", "Generate an image of your choice."),
    ),
    Task(
        name="text",
        inputs=(),
        outputs=("text",),
        instructions=("Write a sentence.", "Say something.", "Write a caption.", "Give a short description."),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TABLE}
