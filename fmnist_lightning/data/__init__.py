"""The images: downloaded and verified (archives), or drawn (garments) and cached (synthetic); split and batched.

The user's own images: files, directories and archives (image_sources), read with limits (image_files, photos).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_lightning.data.datamodule import FashionMNISTData

__all__ = ["FashionMNISTData"]


def __getattr__(name: str) -> Any:
    """Imports torch only once the datamodule is used: the commands look for the user's images before."""
    if name == "FashionMNISTData":
        from fmnist_lightning.data.datamodule import FashionMNISTData

        return FashionMNISTData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
