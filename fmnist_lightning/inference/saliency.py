"""Saliency maps: which pixels of an image raise and which lower the probability of the class that is predicted.

Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365) of the logarithm of that probability, along the
straight path from a black image, the background of the dataset, to the image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnist_lightning.inference.predictor import Predictor

NUM_STEPS = 16  # of the path
BATCH_SIZE = 32  # images; a batch holds NUM_STEPS copies of each
RAISES, LOWERS = (1.0, 0.45, 0.0), (0.2, 0.6, 1.0)  # orange and blue, which colour-blind people distinguish, RGB
DIMMED = 0.45  # brightness of the image under the colours


@torch.enable_grad()
def integrated_gradients(predictor: Predictor, images: Tensor) -> Tensor:
    """The part of each pixel in the logarithm of the predicted class's probability, compared with a black image.

    Args:
        predictor: its model is used in float32; the gradients of its parameters stay as they are.
        images: (N, 28, 28) uint8.

    Returns:
        (N, 28, 28) float32 on the CPU: positive where a pixel raises the probability, in nats.
    """
    model, device = predictor.model, predictor.device
    fractions = (torch.arange(NUM_STEPS, device=device) + 0.5) / NUM_STEPS  # midpoints of the steps
    maps = []
    for batch in images.split(BATCH_SIZE):
        pixels = batch.to(device).float() / 255  # (B, 28, 28)
        path = (fractions.view(-1, 1, 1, 1) * pixels).requires_grad_()  # (NUM_STEPS, B, 28, 28)
        with predictor.lock:
            predicted = model(pixels).argmax(dim=1).repeat(NUM_STEPS)  # (NUM_STEPS * B,)
            log_probabilities = model(path.flatten(0, 1)).log_softmax(dim=1)
        sum_of_predicted = log_probabilities.gather(1, predicted[:, None]).sum()
        (gradients,) = torch.autograd.grad(sum_of_predicted, path, materialize_grads=True)
        maps.append((gradients.mean(dim=0) * pixels).cpu())
    return torch.cat(maps)


def saliency_overlays(predictor: Predictor, images: Tensor) -> Tensor:
    """The images (N, 28, 28) uint8 under their saliency maps, as RGB pixels (N, 28, 28, 3) uint8.

    Orange raises the probability of the predicted class, blue lowers it. The maps are averaged over neighbouring
    pixels, as those of single pixels alternate in sign, and scaled to the largest value of each.
    """
    maps = integrated_gradients(predictor, images).unsqueeze(1)
    for _ in range(2):
        maps = F.avg_pool2d(maps, 3, stride=1, padding=1)
    largest = maps.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    strength = (maps / largest).permute(0, 2, 3, 1)  # (N, 28, 28, 1), from -1 to 1
    colours = torch.where(strength > 0, torch.tensor(RAISES), torch.tensor(LOWERS))
    gray = DIMMED * images[..., None] / 255
    return (255 * torch.lerp(gray.expand_as(colours), colours, strength.abs())).round().to(torch.uint8)
