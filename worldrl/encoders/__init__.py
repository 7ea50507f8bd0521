"""Frozen vision encoders, their weights, and a cache of their features."""

from worldrl.encoders.cache import FeatureCache
from worldrl.encoders.frozen import Encoder, load_encoder, patch_of
from worldrl.encoders.weights import WEIGHTS

ENCODERS = list(WEIGHTS)

__all__ = ["ENCODERS", "Encoder", "FeatureCache", "load_encoder", "patch_of"]
