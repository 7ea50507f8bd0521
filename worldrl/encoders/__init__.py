"""Frozen encoders of frames and of texts, their weights, and a cache of features."""

from worldrl.encoders.cache import FeatureCache
from worldrl.encoders.frozen import ENCODERS, Encoder, check_encoder, load_encoder, patch_of
from worldrl.encoders.text import TEXT_ENCODERS, FrozenTextEncoder, load_text_encoder
from worldrl.encoders.tokens import FewerTokens, TokenSet

__all__ = [
    "ENCODERS",
    "TEXT_ENCODERS",
    "Encoder",
    "FeatureCache",
    "FewerTokens",
    "FrozenTextEncoder",
    "TokenSet",
    "check_encoder",
    "load_encoder",
    "load_text_encoder",
    "patch_of",
]
