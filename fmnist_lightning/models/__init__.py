"""The networks of the study. To add a model: docs/add-your-own-model.md."""

from fmnist_lightning.models.ann import ANN
from fmnist_lightning.models.classifier import Classifier
from fmnist_lightning.models.cnn import CNN
from fmnist_lightning.models.optimizers import MuonAdamW
from fmnist_lightning.models.schedulers import cosine, one_cycle

__all__ = ["ANN", "CNN", "Classifier", "MuonAdamW", "cosine", "one_cycle"]
