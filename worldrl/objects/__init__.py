"""Objects: masks in, a few numbers an object out."""

from worldrl.objects.geometry import NUMBERS, describe, soften
from worldrl.objects.pooling import Prototypes, pool

__all__ = ["NUMBERS", "Prototypes", "describe", "pool", "soften"]
