"""The only training loop: fetch, step, log, validate, save, export; a resume is exact to the bit.

A run goes on exactly after any end, with other workers and on another number of ranks: see `learner.py`.
"""

import faulthandler
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from neuroleon.common.checkpoint import load_weights, prune, require_space, step_folder
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import MANIFEST, atomic_folder, locked
from neuroleon.training.config import RunConfig
from neuroleon.training.guard import is_finite
from neuroleon.training.learner import Learner, Step
from neuroleon.training.log import RunLog, add_provenance
from neuroleon.training.parallel import micro_batches
from neuroleon.training.speed import SpeedMeter, peak_flops
from neuroleon.training.stage import Stage
from neuroleon.training.state import choose_checkpoint, run_identity, save_checkpoint, seed_rng

KEEP = 2  # checkpoints beside the best one: the newest may be damaged
MAX_SKIPPED = 10  # steps in a row without a finite loss
WORKER_TIMEOUT_S = 600  # a hung worker ends the run with a message; storage that gives up has its own before
WORKER_DIED = ("DataLoader worker (pid", "DataLoader timed out", "Pin memory thread")  # how torch says it
HANG_S = 1800  # a step that takes longer hangs: another rank is gone, or the storage


class _Batches(Dataset[dict[str, Tensor]]):
    """The batches of a stage by their index."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.stage.batch(index)


class Trainer:
    """One run of one stage in one folder.

    Args:
        stage: what is trained.
        config: how.
        out: the run folder: `checkpoints/`, `metrics.jsonl`, `speed.jsonl`, `tensorboard/`, `config.json`, `env.txt`.
        settings: all settings, for `config.json`.
        resume: `none`, `auto` (the newest undamaged checkpoint of `out`, if there is one) or the path of a checkpoint.

    Raises:
        ConfigError: `out` holds a run already and `resume` does not take it up, or a setting does not fit the ranks or
            the stage.
        CheckpointError: the checkpoint is damaged or belongs to other settings or data.
    """

    def __init__(
        self, stage: Stage, config: RunConfig, out: Path, *, settings: dict[str, Any], resume: str = "none"
    ) -> None:
        self.started = time.monotonic()
        self.stage, self.config, self.settings, self.folder = stage, config, settings, out / "checkpoints"
        self.identity = run_identity(settings, stage.fingerprint, has_average=config.loop.ema_decay is not None)
        patience = InitProcessGroupKwargs(timeout=timedelta(seconds=HANG_S))
        # without `cpu`, processes that torchrun starts on a machine without a GPU would not know of each other
        on_cpu = not torch.accelerator.is_available()
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[patience])
        self.rank = self.accelerator.process_index
        with ExitStack() as held:
            if self.rank == 0:
                held.enter_context(locked(out / "lock"))
            checkpoint, self.progress = self._agreed(
                choose_checkpoint(out, resume, self.identity) if self.rank == 0 else None
            )
            self.learner = Learner(stage, config, self.accelerator, checkpoint)
            step = self.progress.step
            # a checkpoint of another folder is not here yet, should the run end without a step
            is_here = checkpoint is not None and checkpoint.resolve().parent == self.folder.resolve()
            self.saved_step = step if is_here else None
            self.parent = os.getppid()
            self.sigterm = False  # what this rank has seen; the two below are agreed by all ranks
            self.signalled = self.out_of_time = False
            self.log = RunLog(out if self.rank == 0 else None, settings, step=step, steps=config.loop.steps)
            if checkpoint is not None:
                self.log.say(f"resumed {checkpoint} after {step} steps")
            self.held = held.pop_all()  # until `run` ends
        self.speed: SpeedMeter | None = None

    def _meter(self, step: Step) -> SpeedMeter:
        """Of the speed, with a peak where the stage says what a batch costs."""
        device, ranks = self.learner.device, self.learner.ranks
        if "flops" not in step.contents:
            return SpeedMeter(device, None)
        peak, source = peak_flops(device, torch.bfloat16 if self.learner.in_bf16 else torch.float32)
        self.log.say(f"mfu is the share of {peak / 1e12:.3g} TFLOP/s a rank ({source})")
        return SpeedMeter(device, peak * ranks)

    def _agreed(self, value: Any) -> Any:
        """The main process's `value`, on every rank."""
        return broadcast_object_list([value])[0]

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches of this rank from where the run stands to its end."""
        loop, learner, first = self.config.loop, self.learner, self.progress.batches
        starts = (first + k * loop.batches_per_step for k in range(max(0, loop.steps - self.progress.step)))
        loader = DataLoader(
            _Batches(self.stage),
            sampler=(i for s in starts for i in micro_batches(s, loop.batches_per_step, learner.rank, learner.ranks)),
            batch_size=None,
            num_workers=loop.num_workers,
            generator=torch.Generator(),  # its own: otherwise every new iterator draws from torch's global generator
            pin_memory=learner.device.type == "cuda",
            timeout=WORKER_TIMEOUT_S if loop.num_workers else 0,
        )
        return iter(loader)

    def run(self, final: Path) -> Path | None:
        """Train to the end and export to `final`.

        Returns:
            `final`, or None when SIGTERM ended the run early: its checkpoint is saved, nothing is exported.

        Raises:
            DataError: ten steps in a row were not finite, or a process that makes batches died or hung.
            ConfigError: the memory of the device does not suffice.
            CheckpointError: the disk is full, or no validation gave a finite score.
        """
        try:
            return self._run(final)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"{self.folder.parent}: out of memory ({str(error).splitlines()[0]}); make the batches smaller and "
                "loop.batches_per_step larger, or set loop.recompute or loop.shard; the checkpoints are whole"
            ) from None
        except (RuntimeError, ConnectionResetError) as error:
            # torch raises wherever the run happens to be when a worker dies; the broken connection to it may come first
            reset = isinstance(error, ConnectionResetError) and not str(error).startswith("Caught")  # in a worker
            if not reset and not str(error).startswith(WORKER_DIED):
                raise
            raise DataError(
                f"{self.folder.parent}: a process that makes batches died, or gave none for {WORKER_TIMEOUT_S} s "
                f"({str(error).splitlines()[0]}); look at memory and storage, and go on with --resume auto, with fewer "
                "loop.num_workers if memory was short"
            ) from None

    def _run(self, final: Path) -> Path | None:
        before = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            self._train()
            if self.signalled:
                self.log.say(f"SIGTERM: saved after {self.progress.step} steps; continue with --resume auto")
                return None
            self._save()
            self._export(final)
            return final
        finally:
            faulthandler.cancel_dump_traceback_later()
            if not self.sigterm:  # a process that was told to end is told nothing new, and ends as if all was well
                signal.signal(signal.SIGTERM, before)
            self.log.close()
            self.held.close()
            self.accelerator.end_training()

    def _on_sigterm(self, *_: object) -> None:
        # one is enough: torchrun and supervisors send it several times, and the save must not be cut short by it
        self.sigterm = True

    def _train(self) -> None:
        loop, progress = self.config.loop, self.progress
        batches = self._batches()
        self.learner.module.train()
        if progress.step and self._is_due() and progress.validated_step != progress.step:
            self._validate()  # the signal that ended the run before came first
        while progress.step < loop.steps and not (self.signalled or self.out_of_time):
            faulthandler.dump_traceback_later(HANG_S, exit=True, file=2)
            started = time.perf_counter()
            step = self.learner.step(batches, progress, self._ends)
            faulthandler.cancel_dump_traceback_later()
            self.signalled, self.out_of_time = step.flags
            self._record(step, time.perf_counter() - started)
            improved = self._is_due() and not self.signalled and self._validate()
            if improved or self.signalled or progress.step % loop.save_every == 0:
                self._save()

    def _is_due(self) -> bool:
        """Whether a validation belongs to this step."""
        loop, step = self.config.loop, self.progress.step
        return step % loop.validate_every == 0 or step == loop.steps or self.out_of_time

    def _ends(self) -> list[bool]:
        """What ends the run on this rank: a signal (or torchrun is gone, which would have sent it), or the time."""
        limit = self.config.loop.max_minutes
        orphaned = "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != self.parent
        return [self.sigterm or orphaned, limit is not None and time.monotonic() - self.started > 60 * limit]

    def _record(self, step: Step, seconds: float) -> None:
        """Log a step; one that was not taken is counted, and too many in a row that were not finite end the run."""
        progress, n_batches = self.progress, self.config.loop.batches_per_step
        self.log.advance(step.values["loss"])
        self.speed = self.speed or self._meter(step)
        self.speed.add(step.contents, seconds)
        if progress.step % self.config.loop.log_every == 0:
            self.log.metrics("train", progress.step, step.values)
            self.log.speed(progress.step, self.speed.read())
        if step.fault is None:
            progress.skipped_in_a_row = 0
            return
        progress.skipped += 1
        progress.skipped_in_a_row = (
            0 if is_finite(step.values["loss"], step.values["gradient_norm"]) else progress.skipped_in_a_row + 1
        )
        first = progress.batches - n_batches
        where = f"batches {first} to {progress.batches - 1}"
        self.log.metrics("skipped", progress.step, {**step.values, "first_batch": first})
        self.log.say(f"skipped step {progress.step}: {step.fault} ({where})")
        if progress.skipped_in_a_row >= MAX_SKIPPED:
            raise DataError(
                f"{MAX_SKIPPED} steps in a row gave a loss or gradient that is not finite, the last on {where}; "
                "look at these batches (stage.batch), lower optim.lr, or set loop.mixed_precision to no"
            )

    def _whole_module(self) -> nn.Module | None:
        """On rank 0, the module with the weights that are judged; of weights that are split, a whole copy."""
        learner = self.learner
        if not learner.is_sharded:
            return learner.module if self.rank == 0 else None
        tensors = learner.judged()
        if self.rank != 0:
            return None
        module = self.stage.build()
        module.load_state_dict(tensors)
        return module.to(learner.device)

    def _validate(self) -> bool:
        """Validate and show examples; whether the score is the best so far."""
        progress, ema = self.progress, self.learner.ema
        seed_rng(self.config.seed)  # training draws its numbers from each batch's index, so it is not disturbed
        judged = ema.applied() if ema is not None and not self.learner.is_sharded else nullcontext()
        with torch.no_grad(), judged:
            module = self._whole_module()
            values = None
            if module is not None:
                module.eval()
                values = self.stage.validate(module)
                self.log.examples(progress.step, self.stage.examples(module))
                module.train()
        values = self._agreed(values)
        progress.validated_step, self.saved_step = progress.step, None
        self.log.metrics("validation", progress.step, values)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.log.say(f"step {progress.step}/{self.config.loop.steps}  {shown}")
        score = values["score"]
        improved = math.isfinite(score) and (progress.best_score is None or score < progress.best_score)
        if improved:
            progress.best_score, progress.best_step = score, progress.step
        return improved

    def _save(self) -> None:
        """Write a checkpoint, once per step, and delete the ones that are no longer needed."""
        progress = self.progress
        if self.saved_step == progress.step:
            return
        tensors = self.learner.tensors()
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            n_bytes = sum(t.numel() * t.element_size() for group in tensors.values() for t in group.values())
            require_space(self.folder, int(1.2 * n_bytes))
            folder = step_folder(self.folder, progress.step)
            try:
                save_checkpoint(folder, tensors, progress=progress, identity=self.identity)
            except (OSError, SafetensorError) as error:
                raise CheckpointError(
                    f"{folder}: cannot be written ({error}); the checkpoints before it are whole: make room and go on "
                    "with --resume auto"
                ) from None
            prune(self.folder, KEEP, also=[] if progress.best_step is None else [progress.best_step])
        self.accelerator.wait_for_everyone()
        self.saved_step = progress.step

    def _export(self, final: Path) -> None:
        """Let the stage write the best weights to `final`, which appears whole or not at all."""
        if self.progress.best_step is None:
            raise CheckpointError(
                f"{self.folder.parent}: no validation gave a finite score, so nothing is exported; "
                "look at metrics.jsonl, and start again with a lower optim.lr"
            )
        if self.rank == 0:
            best = step_folder(self.folder, self.progress.best_step)
            module = self.stage.build().to(self.learner.device) if self.learner.is_sharded else self.learner.module
            load_weights(module, best / ("model.safetensors" if self.learner.ema is None else "ema.safetensors"))
            module.eval()
            with torch.no_grad(), atomic_folder(final) as folder:
                self.stage.export(module, folder)
                add_provenance(folder, self.settings, asdict(self.progress), self.config.loop.steps)
                (folder / MANIFEST).unlink(missing_ok=True)  # of a tokenizer's own `save`; it is made anew
            self.log.say(f"wrote {final} (step {self.progress.best_step}, score {self.progress.best_score:.4g})")
