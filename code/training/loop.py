"""The training loop: plan, micro-batches ahead of the model, step, score on valid, keep the best, resume."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from basics.errors import UserError
from basics.scripts import progress_bar
from engine.batching import EncodedRow, plan_steps
from engine.dealing import in_lockstep, step_batches
from engine.neighbours import Neighbours
from engine.packing import PackedBatch, Packer, batch_loss
from engine.replay import Replayed
from training.checkpoints import discard_state, load_state, readable_state, save_state
from training.engines import Engine, seed_draws
from training.log import LOG_FILE, keep_lines, sync_log

STEPS_PACKED_AHEAD = 3


@dataclass(frozen=True)
class TrainingSettings:
    """One fine-tuning run. `batch_size` counts rows per optimizer step over all processes."""

    epochs: int
    batch_size: int
    rows_per_dialogue: int
    token_budget: int
    micro_steps: int
    seed: int
    save_steps: int
    resume: bool


@dataclass
class Progress:
    """Where a run stands; what is saved and resumed beside the weights."""

    epoch: int = 0  # epochs finished
    step: int = 0  # optimizer steps finished
    loss_sum: float = 0.0  # over the finished steps of the running epoch
    best_epoch: int = 0  # 1 is the first; 0 before any was scored
    best_score: float = -math.inf
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Callbacks:
    """What the loop asks of its caller.

    evaluate(epoch): scores that go into the epoch's record; `score` decides which epoch is best.
    keep_best(): saves the model as it is now. record(kind, values): one line of the log.
    """

    evaluate: Callable[[int], dict[str, float]]
    keep_best: Callable[[], None]
    record: Callable[[dict[str, Any]], None]


def steps_in_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps of one epoch; the last may hold fewer rows."""
    return math.ceil(rows / batch_size)


class Trainer:
    """Runs the epochs of one fine-tuning run and can go on from its last saved state."""

    def __init__(
        self,
        model,
        engine: Engine,
        rows: Sequence[EncodedRow],
        packer: Packer,
        settings: TrainingSettings,
        callbacks: Callbacks,
        folder: Path,
        fingerprint: dict[str, Any],
    ) -> None:
        self.model, self.engine, self.rows, self.packer = model, engine, rows, packer
        self.settings, self.callbacks, self.folder, self.fingerprint = (
            settings,
            callbacks,
            folder,
            fingerprint,
        )
        self.device = next(model.parameters()).device
        self.steps_per_epoch = steps_in_epoch(len(rows), settings.batch_size)
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.progress = Progress()
        self.neighbours = Neighbours(self.device)
        self.replayed = self._replayed() if packer.replays else None

    def run(self) -> Progress:
        """Trains until the last epoch is done; returns the history and the best epoch."""
        self._restore_or_begin()
        self.model.train()
        bar = progress_bar(self.total_steps, "train", "step", self.progress.step, silent=self.engine.rank > 0)
        with bar, self.neighbours, short_turns() if self.replayed else nullcontext():
            while self.progress.epoch < self.settings.epochs:
                self._run_epoch(bar)
                self._finish_epoch()
        return self.progress

    def _restore_or_begin(self) -> None:
        state = load_state(self.folder, self.fingerprint) if self.settings.resume else None
        if state:
            with readable_state(self.folder):
                self.progress = Progress(**state["progress"])
                self.engine.load_state(state["engine"])
        if self.engine.rank == 0 and not state:
            discard_state(self.folder)
        if self.engine.rank == 0:
            keep_lines(self.folder / LOG_FILE, self._lies_behind)

    def _lies_behind(self, line: dict[str, Any]) -> bool:
        """Whether a line of the log tells of what the run need not do again."""
        counter = "epoch" if line["kind"] == "epoch" else "step"
        return line[counter] <= getattr(self.progress, counter)

    def _run_epoch(self, bar) -> None:
        progress, settings = self.progress, self.settings
        plan = plan_steps(self.rows, settings.batch_size, settings.rows_per_dialogue, settings.seed, progress.epoch)
        done = progress.step - progress.epoch * self.steps_per_epoch
        for indices, packed in zip(plan[done:], self._packed_ahead(plan[done:]), strict=True):
            began = time.perf_counter()
            measured = self._run_step(packed, [self.rows[index].id for index in indices])
            measured["seconds"] = time.perf_counter() - began
            progress.step += 1
            progress.loss_sum += measured["loss"]
            progress.seconds += measured["seconds"]
            self.callbacks.record({"kind": "step", "step": progress.step, "epoch": progress.epoch + 1, **measured})
            bar.set_postfix(epoch=progress.epoch + 1, loss=f"{measured['loss']:.3f}", refresh=False)
            bar.update(1)
            if settings.save_steps and progress.step % settings.save_steps == 0:
                self._save()

    def _run_step(self, batches: list[PackedBatch], ids: Sequence[str]) -> dict[str, float | None]:
        """One optimizer step over its micro-batches: what the log says of it. ids: of its rows, over all processes.

        The gradient norm is None where the loss was scaled too high for fp16, so that the step was left out.

        Raises:
            UserError: loss or gradients are not finite; weights and optimizer are as before the step.
        """
        rate = self.engine.learning_rate
        total = torch.zeros(1 + self.engine.world_size, device=self.device)  # the loss, the tokens of each process
        total[1 + self.engine.rank] = sum(batch.tokens for batch in batches)
        for number, packed in enumerate(batches):
            seed_draws(self.settings.seed, self.progress.step, number, self.engine.rank)
            last = number == len(batches) - 1
            total[0] += self.replayed(packed) if self.replayed else self._pass(packed.to(self.device), last)
            self.neighbours.look()
        step = self._step_unread if self.replayed else self._step
        loss, tokens, norm = step(total, rate, ids)
        known = norm if math.isfinite(norm) else None
        measured = {"loss": loss, "gradient_norm": known, "learning_rate": rate, "tokens": int(sum(tokens))}
        return measured | ({"tokens_of_slowest": int(max(tokens))} if len(tokens) > 1 else {})

    def _step(self, total: torch.Tensor, rate: float, ids: Sequence[str]) -> tuple[float, list[float], float]:
        """Moves the weights; (loss, tokens of each process, gradient norm)."""
        loss, *tokens = self.engine.sum_over_ranks(total).tolist()
        self._refuse_unless_finite(loss, "loss", rate, ids)
        norm = self.engine.step()
        if not self.engine.overflows_at_times:
            self._refuse_unless_finite(norm, "gradient norm", rate, ids)
        return loss, tokens, norm

    def _step_unread(self, total: torch.Tensor, rate: float, ids: Sequence[str]) -> tuple[float, list[float], float]:
        """The same, which reads its numbers once, when all is on its way."""
        loss, *tokens, norm = torch.cat([total, self.engine.step_unread(total[0])[None]]).tolist()
        self._refuse_unless_finite(loss, "loss", rate, ids)
        self._refuse_unless_finite(norm, "gradient norm", rate, ids)
        self.engine.schedule.step()
        return loss, tokens, norm

    def _pass(self, packed: PackedBatch, last: bool = True) -> torch.Tensor:
        """The loss of one micro-batch on the device, its gradients added to the step's."""
        loss = batch_loss(self.engine.model, packed)
        self.engine.backward(loss, last)
        return loss.detach()

    def _replayed(self) -> Replayed:
        """The same pass, captured as CUDA graphs; for the engine of one process."""
        masters = self.engine.masters
        return Replayed(self._pass, self.device, self.engine.hold_sums(), masters.forget_micro_step)

    def _refuse_unless_finite(self, value: float, name: str, rate: float, ids: Sequence[str]) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"step {self.progress.step + 1}: the {name} is {value} at the learning rate {rate:.3g}, and the step "
                "was not made; begin anew with a lower --learning_rate, or with --precision fp32; "
                f"its rows: {', '.join(dict.fromkeys(ids))}"
            )

    def _packed_ahead(self, plan: Sequence[Sequence[int]]) -> Iterator[list[PackedBatch]]:
        """The micro-batches of each step, built by a second thread while the model computes."""
        with ThreadPoolExecutor(1) as worker:
            waiting = [worker.submit(self._pack, step) for step in plan[:STEPS_PACKED_AHEAD]]
            for number in range(len(plan)):
                packed = waiting.pop(0).result()
                if number + STEPS_PACKED_AHEAD < len(plan):
                    waiting.append(worker.submit(self._pack, plan[number + STEPS_PACKED_AHEAD]))
                yield packed

    def _pack(self, step: Sequence[int]) -> list[PackedBatch]:
        settings = self.settings
        shares = step_batches(
            [self.rows[index] for index in step],
            settings.token_budget,
            self.packer.shares_prefixes,
            settings.micro_steps,
            self.engine.world_size,
        )
        shares = in_lockstep(shares) if self.engine.in_lockstep else shares
        return [self.packer.pack(batch) for batch in shares[self.engine.rank]]

    def _finish_epoch(self) -> None:
        progress = self.progress
        progress.epoch += 1
        record = {"epoch": progress.epoch, "train_loss": progress.loss_sum / self.steps_per_epoch}
        record |= self.callbacks.evaluate(progress.epoch)
        if record["score"] > progress.best_score:
            progress.best_epoch, progress.best_score = progress.epoch, record["score"]
            self.callbacks.keep_best()
        progress.loss_sum = 0.0
        progress.history.append(record)
        self.callbacks.record({"kind": "epoch", "step": progress.step, **record})
        self._save()

    def _save(self) -> None:
        state = self.engine.state()  # every rank takes part; one writes
        if self.engine.rank == 0:
            sync_log(self.folder)  # first: the state says which lines it holds
            save_state(
                self.folder,
                {"fingerprint": self.fingerprint, "progress": asdict(self.progress), "engine": state},
            )


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, a thread that launches waits for one that packs a tenth as long as Python has it wait."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 10)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
