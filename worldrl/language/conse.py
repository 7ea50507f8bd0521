"""Pictures in the space of words without any training: a mean of what their likeliest ImageNet classes are called.

Two frozen networks that never met: a classifier says which of a thousand classes a picture is like, and a text encoder
says which sentences are near the names of those classes. It can be asked for any name, in any words; what no class name
says, such as a colour, it cannot tell.

Source: Norouzi et al. 2014, "Zero-shot learning by convex combination of semantic embeddings" (arXiv:1312.5650),
section 3; ten classes are its best setting. The paper has word vectors, this has sentences (our choice).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.data.captions import with_article
from worldrl.encoders.efficientnet import EfficientNetLite0
from worldrl.encoders.frozen import Encoder, load_encoder
from worldrl.encoders.text import FrozenTextEncoder, load_text_encoder
from worldrl.encoders.weights import load_weights
from worldrl.errors import ConfigError

TOP = 10
SIDE = 224
"""Pixels the classifier's pictures are high and wide."""
MICRO_BATCH = 32


class ConSE(nn.Module):
    """Pictures and texts to vectors of one space, frozen.

    Args:
        classifier: EfficientNet-Lite0 with its thousand classes.
        sentences: The text encoder.
        classes: What the classes are called, in their order.
        top: How many of a picture's likeliest classes count.

    Attributes:
        width: Of vectors ``e``.

    Raises:
        ConfigError: If the encoder has no classes, or there are fewer names, or fewer than ``top``.
    """

    known: Tensor

    def __init__(
        self, classifier: Encoder, sentences: FrozenTextEncoder, classes: Sequence[str], *, top: int = TOP
    ) -> None:
        if not isinstance(classifier.backbone, EfficientNetLite0):
            raise ConfigError(
                f"classifier must be efficientnet_lite0, got {classifier.name}: only that one has classes."
            )
        count = classifier.backbone.fc.out_features
        if len(classes) != count or not 1 <= top <= count:
            raise ConfigError(
                f"classes must be {count} names and top in [1, {count}], got {len(classes)} names and {top}."
            )
        super().__init__()
        self.classifier, self.sentences, self.top = classifier, sentences, top
        self.width = sentences.width
        self.register_buffer("known", sentences([f"a photo of {with_article(name)}" for name in classes]))
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "ConSE":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def images(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b e"]:
        """Return unit vectors of pictures ``(b, h, w, 3)`` uint8 of any size, which are resized to 224 pixels."""
        return torch.cat([self._see(frames[i : i + MICRO_BATCH]) for i in range(0, len(frames), MICRO_BATCH)])

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Float[Tensor, "k e"]:
        """Return unit vectors of texts in any words.

        Raises:
            ConfigError: If a context is given: nothing can be learned here.
            TypeError: If the texts are one string.
            ValueError: If there is no text.
            DataError: If a text is too long.
        """
        if context is not None:
            raise ConfigError("context must be None for ConSE, whose text encoder takes none: use two towers.")
        vectors: Tensor = self.sentences(texts)
        return vectors

    def _see(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b e"]:
        pixels = rearrange(torch.from_numpy(np.array(frames)), "b h w c -> b c h w").float()
        shown = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        resized = rearrange(shown.round().clamp(0, 255).byte(), "b c h w -> b h w c").numpy()
        backbone = self.classifier.backbone
        assert isinstance(backbone, EfficientNetLite0)  # __init__ has seen to it
        chances, which = backbone.logits(self.classifier.preprocess(resized)).softmax(dim=-1).topk(self.top, dim=-1)
        return F.normalize(einsum(chances, self.known[which], "b t, b t e -> b e"), dim=-1)


def load_conse(*, top: int = TOP) -> ConSE:
    """Load the classifier, the text encoder and what the classes of ImageNet-1k are called.

    Args:
        top: How many of a picture's likeliest classes count.

    Raises:
        ConfigError: If ``top`` is out of range.
        CheckpointError: If the weights of efficientnet_lite0 or minilm, or the names of imagenet_names, are missing.
    """
    classifier = load_encoder("efficientnet_lite0")
    assert isinstance(classifier, Encoder)  # without keep and merge it is one
    return ConSE(classifier, load_text_encoder("minilm"), imagenet_names(), top=top)


def imagenet_names() -> list[str]:
    """Return what the thousand classes of ImageNet-1k are called, in their order.

    Raises:
        CheckpointError: If they are not installed (``worldrl encoders install imagenet_names``).
    """
    return load_weights("imagenet_names")["names"].numpy().tobytes().decode().split("\n")
