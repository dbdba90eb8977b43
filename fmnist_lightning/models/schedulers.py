"""Learning-rate schedules over all optimizer steps of a run; the optimizer's learning rate is the highest."""

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR


def cosine(optimizer: Optimizer, total_steps: int, eta_min: float = 0.0) -> CosineAnnealingLR:
    """Cosine annealing from the optimizer's learning rate to `eta_min` over `total_steps` steps."""
    return CosineAnnealingLR(optimizer, T_max=total_steps, eta_min=eta_min)


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> OneCycleLR:
    """Warm-up to the optimizer's learning rate, then annealing. Momentum and betas remain the optimizer's.

    The arguments are those of `OneCycleLR`.

    Raises:
        ValueError: too few steps for a cycle: torch would train at the last rate alone, or divide by zero.
    """
    needed = max(3, math.floor(1 / pct_start) + 1)  # first rate, a higher one, last rate
    if total_steps < needed:
        raise ValueError(
            f"scheduler.pct_start={pct_start}: one cycle needs at least {needed} optimizer steps, and the run has "
            f"{total_steps}; raise trainer.max_epochs or use scheduler=none"
        )
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=pct_start,
        anneal_strategy=anneal_strategy,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        cycle_momentum=False,  # torch's default overwrites optimizer.momentum or optimizer.betas
    )
