"""The blocks that both networks are made of."""

from torch import nn


def dense_block(num_in: int, num_out: int, dropout: float, batch_norm: bool) -> list[nn.Module]:
    """Dense layer, batch normalization where wanted, ReLU, dropout: (N, num_in) -> (N, num_out)."""
    norm: list[nn.Module] = [nn.BatchNorm1d(num_out)] if batch_norm else []
    # batch normalization subtracts the mean, and a bias with it
    return [nn.Linear(num_in, num_out, bias=not batch_norm), *norm, nn.ReLU(), nn.Dropout(dropout)]


def conv_block(
    num_in: int, num_out: int, kernel_size: int, padding: str, dropout: float, batch_norm: bool
) -> list[nn.Module]:
    """Convolution, batch normalization where wanted, ReLU, 2x2 max-pooling, dropout.

    (N, num_in, H, W) -> (N, num_out, H // 2, W // 2) with padding "same".
    """
    norm: list[nn.Module] = [nn.BatchNorm2d(num_out)] if batch_norm else []
    return [
        nn.Conv2d(num_in, num_out, kernel_size, padding=padding, bias=not batch_norm),
        *norm,
        # the maximum of rectified values is the rectified maximum: pooling first leaves ReLU a quarter of the work
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
