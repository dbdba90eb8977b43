"""The images: downloaded and verified, or synthetic; split and batched."""

from fmnist_lightning.data.datamodule import FashionMNISTData

__all__ = ["FashionMNISTData"]
