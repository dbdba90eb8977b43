"""Muon for the weight matrices of the hidden dense layers, AdamW for all other parameters."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from fmnist_lightning.models.classifier import NUM_CLASSES


class MuonAdamW(Optimizer):
    """`torch.optim.AdamW` and `torch.optim.Muon` as one optimizer of two parameter groups, in this order.

    Muon orthogonalises the update of a matrix (https://kellerjordan.github.io/posts/muon/). It trains each parameter
    of two dimensions, except those with 10 rows: the weights of the output layer. AdamW trains these, convolutions,
    biases and batch normalization.

    Args:
        params: parameters of a model.
        lr: learning rate of AdamW.
        lr_factor: learning rate of Muon / learning rate of AdamW.
        momentum, nesterov: of Muon.
        betas, eps: of AdamW.
        weight_decay: of both, decoupled from the gradient: a step subtracts the group's learning rate * weight_decay
            * weight.

    Raises:
        ValueError: no parameter is for Muon.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        lr_factor: float = 5.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in params:
            is_hidden_matrix = parameter.ndim == 2 and len(parameter) != NUM_CLASSES
            (matrices if is_hidden_matrix else others).append(parameter)
        if not matrices:
            raise ValueError("optimizer=muon: the model has no hidden dense layer; use optimizer=adamw")
        adamw = AdamW(others, lr, betas, eps, weight_decay, fused=True)
        muon = torch.optim.Muon(matrices, lr * lr_factor, weight_decay, momentum, nesterov)
        self._optimizers = (adamw, muon)
        super().__init__(adamw.param_groups + muon.param_groups, defaults={"lr": lr})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both optimizers; returns what the closure returns."""
        loss = closure() if closure else None
        for optimizer, group in zip(self._optimizers, self.param_groups, strict=True):
            optimizer.param_groups, optimizer.state = [group], self.state  # load_state_dict replaces them
            optimizer.step()
        return loss
