"""Averages the weights over the steps of training; the average is what is validated, stored and tested."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Exponential moving average of weights and buffers, those of batch normalization among them, after each step.

    Lightning's `WeightAveraging` validates the averaged model and writes it as a checkpoint's `state_dict`, the model
    that is trained as `current_model_state`. Lightning's `EMAWeightAveraging` starts with the full decay: after t steps
    the first weights still count decay^t. It also updates tensor by tensor: 2 ms for the CNN instead of 0.2.

    Args:
        decay: how much of the average each step keeps; after t steps at most (1 + t) / (10 + t).
    """

    def __init__(self, decay: float = 0.998) -> None:
        super().__init__(multi_avg_fn=self._update)
        self.decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Creates the average where the model will be: Lightning moves the model later."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # a counter on a GPU would make each step wait for it
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def _update(self, averages: list[Tensor], currents: list[Tensor], num_updates: Tensor) -> None:
        """Updates all tensors of one type; called after the first step, at which the average is the model itself."""
        if not averages[0].is_floating_point():  # the number of batches that batch normalization has seen
            torch._foreach_copy_(averages, currents)
            return
        num_steps = self._latest_update_step + 1
        torch._foreach_lerp_(averages, currents, 1 - min(self.decay, (1 + num_steps) / (10 + num_steps)))
