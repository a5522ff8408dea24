"""What a task is asked to measure, and a meter between it and the engine: what the answers cost."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from neuroleon.decoding.engine import Prompt
from neuroleon.decoding.sampling import Sampling
from neuroleon.evaluation.feed import Feed, ModelUnderTest, Scorer
from neuroleon.evaluation.networks import Network
from neuroleon.evaluation.tokenizers import EEGCodec, ImageCodec
from neuroleon.evaluation.trials import TrialSet
from neuroleon.tokenizers.document import Span
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary


@dataclass(kw_only=True)
class Meter:
    """An engine that counts: ids generated, answers scored; `documents` are all that were generated, in order."""

    engine: Scorer
    n_ids: int = 0
    n_scored: int = 0
    documents: list[np.ndarray] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Prompt], settings: Sampling, keys: Sequence[tuple[int | str, ...]]
    ) -> list[np.ndarray]:
        made = self.engine.generate(prompts, settings, keys)
        self.n_ids += sum(len(ids) - len(given.ids) for ids, given in zip(made, prompts, strict=True))
        self.documents += made
        return made

    def score(self, prompt_ids: np.ndarray, continuations: Sequence[np.ndarray]) -> np.ndarray:
        self.n_scored += len(continuations)
        return self.engine.score(prompt_ids, continuations)


@dataclass(frozen=True, kw_only=True)
class _Metered:
    """A model whose engine is metered."""

    engine: Meter
    vocabulary: Vocabulary
    text: TextTokenizer
    image: ImageCodec
    eeg: EEGCodec


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The trials of one set with their feed, whose answers `meter` counts; how pictures are drawn, and the `network`,
    if any, that looks at them."""

    feed: Feed
    meter: Meter
    trials: TrialSet
    seed: int
    drawing: Sampling
    network: Network | None

    @classmethod
    def of(cls, feed: Feed, trials: TrialSet, seed: int, drawing: Sampling, network: Network | None) -> "Asked":
        model: ModelUnderTest = feed.model
        meter = Meter(engine=model.engine)
        metered = copy(feed)
        metered.model = _Metered(
            engine=meter, vocabulary=model.vocabulary, text=model.text, image=model.image, eeg=model.eeg
        )
        return cls(feed=metered, meter=meter, trials=trials, seed=seed, drawing=drawing, network=network)

    def n_trials(self, indices: Sequence[int]) -> int:
        """Independent trials among these windows: an interval needs two."""
        return len(np.unique(self.trials.clusters[list(indices)]))

    def texts(self, spans: dict[str, list[Span]]) -> dict[str, list[str]]:
        """Spans of text, per condition, as strings."""
        return {c: self.feed.model.text.decode([s.ids_local.tolist() for s in found]) for c, found in spans.items()}

    def pictures(self, spans: dict[str, list[Span]]) -> dict[str, np.ndarray]:
        """Spans of pictures, per condition, as uint8 (n, H, W, 3)."""
        image = self.feed.model.image
        return {c: np.asarray(image.decode(np.stack([s.ids_local for s in found]))) for c, found in spans.items()}

    def text_spans(self, texts: Sequence[str]) -> list[Span]:
        """Strings as spans."""
        return [Span("text", np.array(ids)) for ids in self.feed.model.text.encode(list(texts))]

    def image_spans(self, pictures: np.ndarray) -> list[Span]:
        """Pictures uint8 (n, H, W, 3) as spans."""
        return [Span("image", ids) for ids in self.feed.model.image.encode(pictures)]
