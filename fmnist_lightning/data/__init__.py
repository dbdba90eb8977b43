"""The images: fetched and verified, or drawn; split, batched and normalised."""

from fmnist_lightning.data.datamodule import FashionMNISTData

__all__ = ["FashionMNISTData"]
