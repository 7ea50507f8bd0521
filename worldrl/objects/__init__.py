"""Objects: masks in, a few numbers an object out."""

from worldrl.objects.annotations import Annotations
from worldrl.objects.fewshot import FewShotMasks
from worldrl.objects.geometry import NUMBERS, describe, soften
from worldrl.objects.pooling import Prototypes, pool

__all__ = ["NUMBERS", "Annotations", "FewShotMasks", "Prototypes", "describe", "pool", "soften"]
