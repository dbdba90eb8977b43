"""How a run ends before its end: Ctrl-C, a cluster's signal, a loss that is no number."""

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Self

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.errors import Interrupted
from fmnist_lightning.training_state import can_go_on_from_here, save_newest

# Slurm sends the last one before the time limit, where a job asks for it: #SBATCH --signal=USR1@60
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
DIVERGED = 1e6  # nats of cross-entropy, from which nothing comes back; guessing among ten classes has 2.3
PATIENCE = 8  # seconds from a signal until validation is given up; a cluster kills after 30, some after 10


class Interruption(Callback):
    """Ends the run at a signal; during training after the batch at hand, with a checkpoint from which it goes on.

    Left to itself, Python raises KeyboardInterrupt wherever the program stands, within some library's bare `except:`
    too, which swallows it: then the training goes on. Lightning ends at SIGTERM without a checkpoint and with exit
    status 0, which looks like success.

    Outside training the handler does raise, for a download may take minutes. Where that was swallowed, `look` raises
    again; where it came in the middle of compiled code, which makes an error of its own of it (Matplotlib's an
    "Invalid affine transformation matrix"), `caused` tells.

    A context: in it the signals are taken over, after it they are as before.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that came
        self.since = 0.0
        self.training = False
        self._raised = False
        self._before: dict[int, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listen()
        # Python swallows, and prints, what is raised while it clears objects away
        sys.unraisablehook = lambda what: None if what.exc_type is Interrupted else sys.__unraisablehook__(what)
        return self

    def __exit__(self, *error: object) -> None:
        sys.unraisablehook = self._unraisable
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.number, number
        self.since = self.since or time.monotonic()
        if not self.training or (again and number == signal.SIGINT):
            self._raised = True
            raise Interrupted(number)

    def caused(self, error: BaseException) -> bool:
        """Whether an error is what became of the one that the handler raised; a disk that fills is not."""
        return self._raised and self.number > 0 and isinstance(error, Exception) and not isinstance(error, OSError)

    def look(self) -> None:
        """Raises where a signal came."""
        if self.number:
            raise Interrupted(self.number)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals over from Lightning."""
        self._listen()
        self.training = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here: the checkpoint was written at the end of the epoch before."""
        if self._asked(trainer):
            self.look()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops here with a checkpoint, unless the epoch is about to end with one anyway."""
        if self._asked(trainer) and can_go_on_from_here(trainer, batch_idx):
            save_newest(trainer)
            raise Interrupted(self.number)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leaves a long validation; the run then goes on from the checkpoint before."""
        if self.number and trainer.world_size == 1 and time.monotonic() - self.since > PATIENCE:
            raise Interrupted(self.number)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on a signal ends the run at once."""
        self.training = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.training = False

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Whether a signal came, to whichever process: all stop after the same batch."""
        if trainer.world_size > 1:
            mine = torch.tensor(self.number, device=trainer.strategy.root_device)
            self.number = int(trainer.strategy.reduce(mine, reduce_op="max"))
        return self.number > 0


class StopWhereLossDiverges(Callback):
    """Ends the run within the epoch in which a loss is no finite number, or is past return, before it chooses anything.

    Looks at the end of an epoch and not at each step: on a GPU a look makes the program wait.
    """

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects the step's loss; looks at the epoch's losses once they are complete."""
        self.losses.append(outputs["loss"].detach())
        if not (trainer.is_last_batch or trainer.should_stop):
            return
        losses = (torch.stack(self.losses) * trainer.accumulate_grad_batches).tolist()
        self.losses = []
        first = next((i for i, loss in enumerate(losses) if not loss < DIVERGED), None)
        if trainer.strategy.reduce_boolean_decision(first is not None, all=False):
            step = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 2 - len(losses)
            where = "another process has such a loss"
            if first is not None:
                where = f"the loss is {losses[first]:g} at step {step + first}, in epoch {trainer.current_epoch + 1}"
            raise FloatingPointError(_advice(trainer, where))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the validation loss: the epoch's last step may have made weights that are no numbers."""
        loss = trainer.callback_metrics["val/loss"].item()
        if not loss < DIVERGED and not trainer.sanity_checking:
            after = f"the validation loss is {loss:g} after step {trainer.global_step}, in epoch"
            raise FloatingPointError(_advice(trainer, f"{after} {trainer.current_epoch + 1}"))


def _advice(trainer: pl.Trainer, what: str) -> str:
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    clip = "" if trainer.gradient_clip_val else ", or set trainer.gradient_clip_val=1.0"
    return f"optimizer.lr={lr:g}: {what} (guessing has 2.3); lower optimizer.lr{clip}"
