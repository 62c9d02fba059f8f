"""The training loop: plan, micro-batches ahead of the model, step, score on valid, keep the best, resume."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from basics.errors import UserError
from basics.scripts import progress_bar
from basics.stopping import StopHeld, Stopped
from engine.batching import EncodedRow, plan_steps
from engine.dealing import in_lockstep, step_batches
from engine.neighbours import Neighbours
from engine.objective import LabelLoss
from engine.packing import PackedBatch, Packer, batch_loss
from engine.replay import Replayed
from training.checkpoints import discard_state, load_state, readable_state, save_state
from training.engines import Engine, seed_draws
from training.log import LOG_FILE, keep_records, sync_log

STEPS_PACKED_AHEAD = 3


@dataclass(frozen=True)
class TrainingSettings:
    """One fine-tuning run.

    batch_size: rows of an optimizer step, over all processes. token_budget: of a micro-batch. micro_steps: the least
    number into which a step is cut. save_steps: steps between two saved states; 0: a state is saved after scorings
    only. label_loss: None: the loss is that of each row's target. score_every: steps between scorings; 0: an epoch.
    The last step is always scored. patience: scorings in a row without a better score that end the run; 0: none do.
    """

    epochs: int
    batch_size: int
    rows_per_dialogue: int
    token_budget: int
    micro_steps: int
    seed: int
    save_steps: int
    resume: bool
    label_loss: LabelLoss | None = None
    score_every: int = 0
    patience: int = 0


@dataclass
class Progress:
    """How far a run has come; saved beside the weights, and restored on resuming."""

    step: int = 0  # optimizer steps finished
    scored_step: int = 0  # the step after which weights were scored last
    loss_sum: float = 0.0  # of the steps since `scored_step`
    best_epoch: float = 0  # 1 is the end of the first; 0 before any was scored
    best_score: float = -math.inf
    best_weights: str | None = None  # SHA-256 of those in `model_dir`; None: not known
    without_gain: int = 0  # scorings since the best one
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Callbacks:
    """What the loop asks of its caller.

    evaluate(epoch): scores the model; name -> number for the log, of which `score` decides which weights are best.
    keep_best(): saves the model as it is now, and returns its `Progress.best_weights`. record(values): logs one line.
    """

    evaluate: Callable[[float], dict[str, float]]
    keep_best: Callable[[], str | None]
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
        self.settings, self.callbacks, self.folder, self.fingerprint = settings, callbacks, folder, fingerprint
        self.device = next(model.parameters()).device
        self.steps_per_epoch = steps_in_epoch(len(rows), settings.batch_size)
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.progress = Progress()
        self.neighbours = Neighbours(self.device)
        self.stop = StopHeld("stops after this step, and saves it")
        self.has_log = False
        self.asked_by_any = False  # whether any of several processes had been signalled to stop at the last step
        self.replayed = self._replayed() if packer.replays else None

    def run(self) -> Progress:
        """Trains until the last epoch is done or patience runs out; returns the history and the best epoch.

        Raises:
            Stopped: by a signal; the last finished step is saved.
        """
        self._restore_or_begin()
        self.model.train()
        bar = progress_bar(self.total_steps, "train", "step", self.progress.step, silent=self.engine.rank > 0)
        with bar, self.stop, self.neighbours, short_turns() if self.replayed else nullcontext():
            self._score_if_due()  # a state may have been saved between a step and its scoring
            while not self._is_over():
                self._run_epoch(bar)
        return self.progress

    def _is_over(self) -> bool:
        progress, patience = self.progress, self.settings.patience
        return progress.scored_step == self.total_steps or 0 < patience <= progress.without_gain

    def _restore_or_begin(self) -> None:
        state = load_state(self.folder, self.fingerprint) if self.settings.resume else None
        if state:
            with readable_state(self.folder):
                self.progress = read_progress(state["progress"], self.steps_per_epoch)
                self.engine.load_state(state["engine"])
        if self.engine.rank == 0 and not state:
            discard_state(self.folder)
        if self.engine.rank == 0:
            keep_records(self.folder / LOG_FILE, self._lies_behind)
            self._look_for_log()

    def _lies_behind(self, line: dict[str, Any]) -> bool:
        """Whether a record of the log is of a step or scoring that a resumed run will not repeat."""
        done = self.progress.scored_step if line["kind"] == "epoch" else self.progress.step
        return line["step"] <= done

    def _run_epoch(self, bar) -> None:
        progress, settings = self.progress, self.settings
        epoch = progress.step // self.steps_per_epoch
        plan = plan_steps(self.rows, settings.batch_size, settings.rows_per_dialogue, settings.seed, epoch)
        left = plan[progress.step - epoch * self.steps_per_epoch :]
        for indices, packed in zip(left, self._packed_ahead(left), strict=True):
            began = time.perf_counter()
            measured = self._run_step(packed, [self.rows[index].id for index in indices])
            measured["seconds"] = time.perf_counter() - began
            progress.step += 1
            progress.loss_sum += measured["loss"]
            progress.seconds += measured["seconds"]
            self._record({"kind": "step", "step": progress.step, "epoch": epoch + 1, **measured})
            bar.set_postfix(epoch=epoch + 1, loss=f"{measured['loss']:.3f}", refresh=False)
            bar.update(1)
            if settings.save_steps and progress.step % settings.save_steps == 0:
                self._save()
            self._stop_if_asked()
            self._score_if_due()
            if self._is_over():
                return
            self._stop_if_asked()

    def _run_step(self, batches: list[PackedBatch], ids: Sequence[str]) -> dict[str, float | None]:
        """Makes one optimizer step; returns its record. batches: of this process. ids: of the rows of all processes.

        The gradient norm is None where the loss was scaled too high for fp16, so that the step was left out.

        Raises:
            UserError: loss or gradients are not finite; weights and optimizer are as before the step.
        """
        rate = self.engine.learning_rate
        # [loss, number of processes asked to stop, tokens of each process].
        total = torch.zeros(2 + self.engine.world_size, device=self.device)
        total[2 + self.engine.rank] = sum(batch.tokens for batch in batches)
        for number, packed in enumerate(batches):
            seed_draws(self.settings.seed, self.progress.step, number, self.engine.rank)
            last = number == len(batches) - 1
            total[0] += self.replayed(packed) if self.replayed else self._pass(packed.to(self.device), last)
            self.neighbours.look()
        total[1] = bool(self.stop.number)
        step = self._step_unread if self.replayed else self._step
        loss, tokens, norm = step(total, rate, ids)
        known = norm if math.isfinite(norm) else None
        measured = {"loss": loss, "gradient_norm": known, "learning_rate": rate, "tokens": int(sum(tokens))}
        return measured | ({"tokens_of_slowest": int(max(tokens))} if len(tokens) > 1 else {})

    def _step(self, total: torch.Tensor, rate: float, ids: Sequence[str]) -> tuple[float, list[float], float]:
        """Updates the weights -> (loss, tokens of each process, gradient norm). total: as made in `_run_step`."""
        loss, asked, *tokens = self.engine.sum_over_ranks(total).tolist()
        self.asked_by_any = asked > 0
        self._refuse_unless_finite(loss, "loss", rate, ids)
        norm = self.engine.step()
        if not self.engine.overflows_at_times:
            self._refuse_unless_finite(norm, "gradient norm", rate, ids)
        return loss, tokens, norm

    def _step_unread(self, total: torch.Tensor, rate: float, ids: Sequence[str]) -> tuple[float, list[float], float]:
        """`_step` that reads all numbers from the device at once, after the whole step has been launched."""
        loss, _, *tokens, norm = torch.cat([total, self.engine.step_unread(total[0])[None]]).tolist()
        self._refuse_unless_finite(loss, "loss", rate, ids)
        self._refuse_unless_finite(norm, "gradient norm", rate, ids)
        self.engine.schedule.step()
        return loss, tokens, norm

    def _pass(self, packed: PackedBatch, last: bool = True) -> torch.Tensor:
        """The loss of one micro-batch, on the device; its gradients are added to those of the step."""
        loss = batch_loss(self.engine.model, packed)
        self.engine.backward(loss, last)
        return loss.detach()

    def _replayed(self) -> Replayed:
        """`_pass` captured as CUDA graphs, for the engine of one process."""
        masters = self.engine.masters
        return Replayed(self._pass, self.device, self.engine.hold_sums(), masters.forget_micro_step)

    def _refuse_unless_finite(self, value: float, name: str, rate: float, ids: Sequence[str]) -> None:
        if not math.isfinite(value):
            wider = "" if next(self.model.parameters()).dtype == torch.float32 else ", or with --precision fp32"
            raise UserError(
                f"step {self.progress.step + 1}: the {name} is {value} at the learning rate {rate:.3g}, and the step "
                f"was not made; begin anew with a lower --learning_rate{wider}; "
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
            settings.label_loss,
        )
        shares = in_lockstep(shares) if self.engine.in_lockstep else shares
        return [self.packer.pack(batch) for batch in shares[self.engine.rank]]

    def _score_if_due(self) -> None:
        progress, every = self.progress, self.settings.score_every or self.steps_per_epoch
        is_due = progress.step % every == 0 or progress.step == self.total_steps
        if not is_due or progress.step == progress.scored_step:
            return
        whole, rest = divmod(progress.step, self.steps_per_epoch)
        record: dict[str, Any] = {"epoch": whole + rest / self.steps_per_epoch if rest else whole}
        record["train_loss"] = progress.loss_sum / (progress.step - progress.scored_step)
        try:
            gains = self._score(record)
        except KeyboardInterrupt as stop:
            if self.engine.world_size == 1:
                self._save_before(stop)
            raise
        if gains:
            progress.best_epoch, progress.best_score = record["epoch"], record["score"]
        progress.without_gain = 0 if gains else progress.without_gain + 1
        progress.loss_sum, progress.scored_step = 0.0, progress.step
        progress.history.append(record)
        self._record({"kind": "epoch", "step": progress.step, **record})
        self._save()

    def _score(self, record: dict[str, Any]) -> bool:
        """Adds scores to the record; where they are the best so far, saves the model. Returns whether they are."""
        # Of several processes, a signal may reach only some.
        alone = self.stop.let_through() if self.engine.world_size == 1 else nullcontext()
        with self.engine.scored_weights():
            with alone:
                record |= self.callbacks.evaluate(record["epoch"])
            gains = record["score"] > self.progress.best_score
            if gains:
                self.progress.best_weights = self.callbacks.keep_best()
        return gains

    def _stop_if_asked(self) -> None:
        """Saves the step and raises `Stopped`, in all processes or in none."""
        if self.asked_by_any or (self.engine.world_size == 1 and self.stop.number):
            stop = Stopped(self.stop.number or signal.SIGTERM)
            self._save_before(stop)
            if self.engine.world_size > 1:  # wait for the first to write: a launcher ends all when one ends
                self.engine.sum_over_ranks(torch.zeros(1, device=self.device))
            raise stop

    def _save_before(self, stop: KeyboardInterrupt) -> None:
        self._save()
        stop.add_note(f"step {self.progress.step} of {self.total_steps} is saved")

    def _record(self, values: dict[str, Any]) -> None:
        self._refuse_removed()
        self.callbacks.record(values)
        self._look_for_log()

    def _look_for_log(self) -> None:
        self.has_log = self.engine.rank == 0 and (self.folder / LOG_FILE).exists()

    def _refuse_removed(self) -> None:
        """UserError when the log was removed while the run goes on: one without its beginning would look complete."""
        if self.has_log and not (self.folder / LOG_FILE).exists():
            discard_state(self.folder)
            raise UserError(f"{self.folder / LOG_FILE} was removed while this run was writing it: start it again")

    def _save(self) -> None:
        state = self.engine.state()  # every rank takes part; one writes
        if self.engine.rank == 0:
            sync_log(self.folder)  # before the state, which counts on these lines
            save_state(
                self.folder,
                {"fingerprint": self.fingerprint, "progress": asdict(self.progress), "engine": state},
            )
            self._refuse_removed()


def read_progress(saved: Mapping[str, Any], steps_per_epoch: int) -> Progress:
    """The `Progress` in a saved state; one from before `score_every` has an epoch, at whose beginning it was scored."""
    saved = dict(saved)
    if "epoch" in saved:
        saved["scored_step"] = saved.pop("epoch") * steps_per_epoch
    return Progress(**saved)


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, Python switches threads ten times as often: launching waits less for the thread that packs batches."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 10)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
