"""The images: downloaded and verified (archives), or drawn (garments) and cached (synthetic); split and batched."""

from fmnist_lightning.data.datamodule import FashionMNISTData

__all__ = ["FashionMNISTData"]
