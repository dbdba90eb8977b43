"""Does an exported file compute what PyTorch computes? Compared on all test images."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-5  # of a probability


class Parity(NamedTuple):
    """Probabilities of an exported file compared with those of PyTorch, in float32 on the CPU."""

    num_images: int
    num_different: int  # images with another predicted class, ties excluded
    num_ties: int  # images with another predicted class, which PyTorch finds at most 1e-5 less probable than its own
    max_difference: float  # of a probability
    accuracy: float

    @property
    def is_equivalent(self) -> bool:
        """Whether classes are identical, except for ties, and probabilities within the tolerance; NaN is not."""
        return self.num_different == 0 and self.max_difference <= TOLERANCE


def compare(probabilities: Tensor, reference: Tensor, labels: Tensor) -> Parity:
    """Compares probabilities (N, 10) of an exported file with PyTorch's; labels (N,) are for the accuracy."""
    predicted, expected = probabilities.argmax(dim=1), reference.argmax(dim=1)
    lead = reference.gather(1, torch.stack([expected, predicted], dim=1)).diff(dim=1).abs().squeeze(1)
    differs = predicted != expected
    ties = differs & (lead <= TOLERANCE)
    return Parity(
        num_images=len(labels),
        num_different=int((differs & ~ties).sum()),
        num_ties=int(ties.sum()),
        max_difference=(probabilities - reference).abs().max().item(),
        accuracy=(predicted == labels).double().mean().item(),
    )


def check(name: str, parity: Parity) -> None:
    """Raises ValueError if the file called `name` is not equivalent to PyTorch."""
    if not parity.is_equivalent:
        raise ValueError(
            f"{name}: not kept, it differs from PyTorch: of {parity.num_images:,} test images {parity.num_different:,} "
            f"have another predicted class (0 are allowed), and probabilities differ by up to "
            f"{parity.max_difference:.1e} ({TOLERANCE:.0e} is allowed)"
        )


def table(sizes: Mapping[str, int], parities: Mapping[str, Parity], reference_accuracy: float) -> str:
    """The comparison as text: size in bytes and parity, by file."""
    lines = [f"{'':15}  {'size':>8}  accuracy  classes as PyTorch's  largest difference"]
    lines.append(f"{'PyTorch':15}  {'':>8}  {reference_accuracy:>8.4f}")
    for name, parity in parities.items():
        same = f"{parity.num_images - parity.num_different - parity.num_ties:,} of {parity.num_images:,}"
        ties = f"  {parity.num_ties} tie{'s' * (parity.num_ties > 1)}" if parity.num_ties else ""
        lines.append(
            f"{name:15}  {sizes[name] / 1e6:>5.2f} MB  {parity.accuracy:>8.4f}  {same:>20}  "
            f"{parity.max_difference:>18.1e}{ties}"
        )
    return "\n".join(lines)
