"""The engine: ids in, ids out. Guidance, then the grammar, then sampling, then the cache, in one loop.

A row's ids depend on its prompt, the settings and its key, and on nothing else in the batch. The engine knows neither
signals nor pixels nor strings: `pipeline.py` does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import torch_generator
from neuroleon.decoding.constraints import Candidates, candidates
from neuroleon.decoding.guidance import contrast, guide
from neuroleon.decoding.rows import Row, Rules
from neuroleon.decoding.sampling import Sampling, choose
from neuroleon.model.products import Precision
from neuroleon.model.stepper import Context, Stepper, check_precision
from neuroleon.model.transformer import Cache, Neuroleon
from neuroleon.tokenizers.document import task_of
from neuroleon.tokenizers.grammar import Grammar
from neuroleon.tokenizers.infill import Filling
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import PAD, Vocabulary

ROWS = 32  # rows of one forward pass when scoring: bounds the memory of the logits


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """The beginning of a document: `ids` through the opening mark of its first output.

    `unconditional` is the prompt of the second stream (`document.unconditional_prompt`); needed for guidance and
    contrast. `filling` is given where `ids` end behind the sentinel of a hole (`infill.hollow`), which is filled then
    instead. `eeg_steps` is the length of an EEG output in steps of 125 ms; needed when the task has one. `before` are
    ids that are read before `ids` and belong to no answer: other documents (`retrieval/augment.py`).
    """

    ids: np.ndarray
    unconditional: np.ndarray | None = None
    eeg_steps: int | None = None
    filling: Filling | None = None
    before: np.ndarray | None = None

    @property
    def conditional(self) -> np.ndarray:
        """All ids that are read."""
        return self.ids if self.before is None else np.concatenate([self.before, self.ids])


def _left_padded(prompts: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """ids, positions and documents (B, T), the last id of each prompt in the last column; padding is document -1."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), PAD)
    for row, prompt in zip(ids, prompts, strict=True):
        row[width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
    positions = torch.arange(width) - torch.tensor([[width - len(prompt)] for prompt in prompts])
    documents = torch.where(positions < 0, -1, 0)
    return ids.to(device), positions.clamp_min(0).to(device), documents.to(device)


class Engine:
    """Continues prompts with a trained model, and scores given continuations.

    Args:
        precision: of the copy of the weights that prompts are continued with; scores are the model's own.

    Raises:
        ConfigError: the model was built for another number of ids than the vocabulary has, or cannot be read in this
            precision.
    """

    def __init__(self, model: Neuroleon, vocabulary: Vocabulary, precision: Precision = "float32") -> None:
        if model.n_ids != vocabulary.size:
            raise ConfigError(
                f"the model knows {model.n_ids} ids, the vocabulary has {vocabulary.size}; take both from one folder"
            )
        check_precision(precision, model)
        self._model = model.eval()
        self._vocabulary = vocabulary
        self._precision = precision

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: Sampling,
        keys: Sequence[tuple[int | str, ...]],
        on_id: Callable[[int, int], None] | None = None,
    ) -> list[np.ndarray]:
        """Continue each prompt to the end of its document.

        Args:
            prompts: of any lengths and tasks.
            settings: how ids are chosen.
            keys: one per prompt, such as (seed, sample id): the key of the row's random numbers.
            on_id: told of each id as it is chosen: which prompt's, and the id.

        Returns:
            Whole documents, prompt included but not what stands before it, int32 shared ids: `document.parse` reads
            them.

        Raises:
            DataError: a prompt that is not the beginning of a document, or whose document has no room in the model.
            ConfigError: what guidance or an EEG output needs is absent.
        """
        rows = [
            Row(
                prompt.ids,
                *self._rules(prompt, settings),
                torch_generator(*key),
                self._vocabulary.text.ids,
                settings.no_repeat,
            )
            for prompt, key in zip(prompts, keys, strict=True)
        ]
        if rows:
            self._grow(rows, _streams(prompts, settings), settings, on_id)
        return [np.array(row.ids, dtype=np.int32) for row in rows]

    @cached_property
    def _stepper(self) -> Stepper:
        return Stepper(self._model, self._precision)

    def _grow(
        self,
        rows: list[Row],
        streams: list[list[np.ndarray]],
        settings: Sampling,
        on_id: Callable[[int, int], None] | None,
    ) -> None:
        """Append ids to all rows until each is done; `streams` are one batch, stream after stream."""
        hidden, context = self._read([prompt for stream in streams for prompt in stream], max(row.room for row in rows))
        numbers = list(range(len(rows)))
        while True:
            open_ids = candidates([row.allowed for row in rows], [row.repeating for row in rows], hidden.device)
            logits = self._stepper.logits(hidden, open_ids.ranges).float()
            columns = choose(_steered(logits, open_ids, settings), settings, [row.generator for row in rows])
            chosen = open_ids.ids[columns]
            for number, row, id_shared in zip(numbers, rows, chosen.tolist(), strict=True):
                row.append(id_shared)
                if on_id is not None:
                    on_id(number, id_shared)
            running = [i for i, row in enumerate(rows) if not row.done]
            if not running:
                return
            if len(running) < len(rows):
                kept = torch.tensor([stream * len(rows) + i for stream in range(len(streams)) for i in running])
                kept = kept.to(hidden.device)
                context, chosen = context.select(kept), chosen[kept[: len(running)]]
                rows, numbers = [rows[i] for i in running], [numbers[i] for i in running]
            hidden = self._stepper.step(chosen.repeat(len(streams)), context)

    def _read(self, prompts: Sequence[np.ndarray], room: int) -> tuple[Tensor, Context]:
        """Read prompts, each different one once."""
        which = {prompt.tobytes(): i for i, prompt in reversed(list(enumerate(prompts)))}
        firsts = sorted(which.values())
        hidden, context = self._stepper.read(*_left_padded([prompts[i] for i in firsts], self._model.device), room)
        if len(firsts) < len(prompts):
            rows = torch.tensor([firsts.index(which[prompt.tobytes()]) for prompt in prompts], device=hidden.device)
            hidden, context = hidden[rows], context.select(rows)
        return hidden, context

    def _prefill(self, prompt: np.ndarray) -> tuple[Tensor, Cache]:
        """Read one prompt: the logits (1, V) of the id after it, and the cache."""
        ids, positions, documents = _left_padded([prompt], self._model.device)
        last = torch.zeros_like(ids, dtype=torch.bool)
        last[:, -1] = True
        logits, cache = self._model(ids, positions, documents, return_cache=True, where=last)
        return logits, cache

    def _rules(self, prompt: Prompt, settings: Sampling) -> tuple[Rules, int]:
        """What may follow a prompt, and the most ids that it may be."""
        if prompt.filling is None:
            return self._grammar(prompt, settings)
        n_prompt = len(prompt.conditional)
        room = self._model.config.max_length - n_prompt
        if prompt.filling.room > room:
            raise DataError(
                f"the document with its holes filled needs {n_prompt + prompt.filling.room} tokens, the model "
                f"holds {self._model.config.max_length}; give a shorter one, or less text to fill in"
            )
        return prompt.filling, prompt.filling.room

    def _grammar(self, prompt: Prompt, settings: Sampling) -> tuple[Grammar, int]:
        """The grammar of a prompt's task, with text spans bounded by what the model has room for, and the most ids that
        it lets follow."""
        name = task_of(prompt.ids, self._vocabulary)
        outputs = TASKS[name].outputs
        if "eeg" in outputs and prompt.eeg_steps is None:
            raise ConfigError(f"task {name}: the length of the EEG to generate is not given; give eeg_steps")
        tokens = {
            "text": 0,
            "image": self._vocabulary.image.tokens,
            "eeg": 1 + (prompt.eeg_steps or 0) * self._vocabulary.eeg.tokens,  # the scale, then the steps
        }
        # The first output's opening mark ends the prompt; an output also has a closing mark, then <break> or <eod>.
        n_prompt = len(prompt.conditional)
        needed = n_prompt + sum(tokens[output] + 3 for output in outputs) - 1
        room = self._model.config.max_length - needed
        n_text = outputs.count("text")
        if room < n_text:
            raise DataError(
                f"task {name}: the document needs {needed + n_text} tokens ({n_prompt} of them the prompt), "
                f"the model holds {needed + room}; give a shorter stretch of EEG or text"
                + (", or fewer documents of the memory" if prompt.before is not None and len(prompt.before) else "")
            )
        max_text = min(settings.max_text, room // n_text) if n_text else None
        grammar = Grammar(self._vocabulary, name, eeg_steps=prompt.eeg_steps, max_text=max_text)
        return grammar, needed - n_prompt + n_text * (max_text or 0)

    @torch.inference_mode()
    def score(self, prompt_ids: np.ndarray, continuations: Sequence[np.ndarray]) -> np.ndarray:
        """Log-probability (nats, over the whole vocabulary) of each continuation after a prompt, float64 (n,).

        Raises:
            DataError: an empty prompt or continuation, or one that has no room in the model.
        """
        longest = max((len(c) for c in continuations), default=0)
        if len(prompt_ids) == 0 or any(len(c) == 0 for c in continuations):
            raise DataError("score: an empty prompt or continuation has no probability; give at least one id each")
        if len(prompt_ids) + longest > self._model.config.max_length:
            raise DataError(
                f"score: prompt and continuation are {len(prompt_ids) + longest} tokens, "
                f"the model holds {self._model.config.max_length}; give a shorter stretch of EEG or text"
            )
        if not len(continuations):
            return np.zeros(0)
        logits, cache = self._prefill(prompt_ids)
        chunks = [continuations[i : i + ROWS] for i in range(0, len(continuations), ROWS)]
        return np.concatenate([self._scores(logits, cache, chunk) for chunk in chunks])

    def _scores(self, after_prompt: Tensor, cache: Cache, continuations: Sequence[np.ndarray]) -> np.ndarray:
        """Scores after the one prompt whose last logits (1, V) and cache are given: it is read once for all."""
        # Padding on the right: a causal model does not see it, and its places are left out of the sum.
        ids = torch.full((len(continuations), max(map(len, continuations))), PAD)
        counted = torch.zeros_like(ids, dtype=torch.bool)
        for i, continuation in enumerate(continuations):
            ids[i, : len(continuation)] = torch.from_numpy(continuation.astype(np.int64))
            counted[i, : len(continuation)] = True
        nats = torch.zeros(ids.shape, dtype=torch.float64)
        nats[:, 0] = _log_p(after_prompt.expand(len(ids), -1), ids[:, 0])
        if ids.shape[1] > 1:
            device, later = self._model.device, counted[:, 1:]
            shared = cache.select(torch.zeros(len(ids), dtype=torch.long, device=device))
            logits = self._model(ids[:, :-1].to(device), cache=shared, where=later.to(device))
            nats[:, 1:][later] = _log_p(logits, ids[:, 1:][later])
        return nats.sum(dim=1).numpy()


def _log_p(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability (n,) of one id per row of logits (n, V), float64 on the CPU."""
    log_p = logits.gather(1, ids.to(logits.device)[:, None])[:, 0].double() - logits.logsumexp(dim=1).double()
    return log_p.cpu()


def _steered(logits: Tensor, open_ids: Candidates, settings: Sampling) -> Tensor:
    """Logits (B, n) of all streams -> of the rows, with -inf where a row may not go."""
    if not settings.two_streams:
        return open_ids.constrain(logits)
    conditional, unconditional = logits.chunk(2)
    if not settings.contrast_k:
        return open_ids.constrain(guide(conditional, unconditional, settings.guidance))
    both = open_ids.constrain(conditional), open_ids.constrain(unconditional)
    return contrast(*both, settings.contrast_k, settings.contrast_alpha)


def _streams(prompts: Sequence[Prompt], settings: Sampling) -> list[list[np.ndarray]]:
    """The prompts of each stream: with the condition, and without it where both are asked for."""
    conditional = [prompt.conditional for prompt in prompts]
    if not settings.two_streams:
        return [conditional]
    unconditional = [prompt.unconditional for prompt in prompts if prompt.unconditional is not None]
    if len(unconditional) < len(prompts):
        raise ConfigError(
            "guidance and contrast_k read each prompt without its condition, too, and a prompt has no unconditional "
            "form; give it, or leave them at 1 and 0"
        )
    return [conditional, unconditional]
