"""Frozen vision encoders, their weights, and a cache of their features."""

from worldrl.encoders.cache import FeatureCache
from worldrl.encoders.frozen import ENCODERS, Encoder, load_encoder, patch_of

__all__ = ["ENCODERS", "Encoder", "FeatureCache", "load_encoder", "patch_of"]
