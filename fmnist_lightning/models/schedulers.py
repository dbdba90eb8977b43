"""Schedules by total steps, where torch's own argument has another name."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR


def cosine(optimizer: Optimizer, total_steps: int, eta_min: float = 0.0) -> CosineAnnealingLR:
    """Cosine annealing from the optimizer's learning rate to `eta_min` over `total_steps` steps."""
    return CosineAnnealingLR(optimizer, T_max=total_steps, eta_min=eta_min)
