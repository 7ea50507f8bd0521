"""What was found, drawn on frames: boxes, masks, cubes, heat, and sheets of many pictures."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from worldrl.types import Array

Picture = npt.NDArray[np.uint8]

PALETTE = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (145, 30, 180), (245, 130, 48), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (170, 110, 40),
)  # fmt: skip
"""Colours by number, repeated where there are more numbers (our choice)."""
_EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7))
"""Corners of a cube that an edge joins, in the order of ``worldrl.scene.Thing.corners``."""
_LINE = 14
"""Pixels that a line of text is high."""


def boxes(
    image: Picture, rows: Array, texts: Sequence[str] = (), *, colour: tuple[int, int, int] | None = None
) -> Picture:
    """Draw boxes with their texts.

    Args:
        image: ``(h, w, 3)`` uint8.
        rows: ``(n, 4)`` left, top, right, bottom in pixels.
        texts: One for each box, or none.
        colour: Of all boxes; by number if none is given.

    Returns:
        A new picture of the same size.
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(np.asarray(rows, float).reshape(-1, 4)):
        ink = colour or PALETTE[i % len(PALETTE)]
        left, top, right, bottom = (float(side) for side in row)
        draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=ink, width=2)
        if i < len(texts):
            _label(draw, (left, max(top - 12, 0)), texts[i], ink)
    return np.array(canvas)


def masks(image: Picture, labels: Array, *, alpha: float = 0.55) -> Picture:
    """Lay a map of labels over a frame.

    Args:
        image: ``(h, w, 3)`` uint8.
        labels: ``(h, w)`` integers: 0 is left as it is, others are coloured by number.
        alpha: How much of the colour is seen, in [0, 1].
    """
    numbers = np.asarray(labels)
    palette = np.array(PALETTE, np.float32)[(numbers - 1) % len(PALETTE)]
    shown = np.where((numbers > 0)[..., None], (1 - alpha) * image + alpha * palette, image)
    return np.asarray(shown).round().astype(np.uint8)


def cubes(image: Picture, corners: Array, *, colour: tuple[int, int, int] | None = None) -> Picture:
    """Draw the edges of cubes.

    Args:
        image: ``(h, w, 3)`` uint8.
        corners: ``(n, 8, 2)`` pixels, each cube's in the order of ``worldrl.scene.Thing.corners``.
        colour: Of all cubes; by number if none is given.
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    for i, cube in enumerate(np.asarray(corners, float).reshape(-1, 8, 2)):
        ink = colour or PALETTE[i % len(PALETTE)]
        for one, other in _EDGES:
            draw.line([tuple(cube[one]), tuple(cube[other])], fill=ink, width=2)
    return np.array(canvas)


def heat(image: Picture, values: Array, *, alpha: float = 0.6) -> Picture:
    """Lay a coarse map of values over a frame, blue where they are lowest and red where they are highest.

    Args:
        image: ``(h, w, 3)`` uint8.
        values: ``(gh, gw)``, any range; stretched to the frame.
        alpha: How much of the colour is seen, in [0, 1].
    """
    from PIL import Image

    low, high = float(np.min(values)), float(np.max(values))
    share = (np.asarray(values, np.float32) - low) / max(high - low, 1e-9)
    small = Image.fromarray((255 * share).round().astype(np.uint8))
    level = np.asarray(small.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR), np.float32) / 255
    tone = np.stack([level, 1 - np.abs(2 * level - 1), 1 - level], axis=-1) * 255
    return ((1 - alpha) * image + alpha * tone).round().astype(np.uint8)


def sheet(images: Sequence[Picture], *, columns: int, captions: Sequence[str] = (), gap: int = 4) -> Picture:
    """Put pictures of one size side by side, row by row, each with its caption beneath.

    Args:
        images: At least one, all of one size.
        columns: Pictures in a row.
        captions: One for each picture, or none; what is too long is broken into lines.
        gap: White pixels between pictures.
    """
    from PIL import Image, ImageDraw

    height, width = images[0].shape[:2]
    lines = [_broken(text, width) for text in captions]
    room = _LINE * max((len(line) for line in lines), default=0)
    rows = -(-len(images) // columns)
    size = (columns * (width + gap) + gap, rows * (height + room + gap) + gap)
    canvas = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for i, image in enumerate(images):
        left, top = gap + (i % columns) * (width + gap), gap + (i // columns) * (height + room + gap)
        canvas.paste(Image.fromarray(np.ascontiguousarray(image)), (left, top))
        for j, line in enumerate(lines[i] if i < len(lines) else []):
            draw.text((left, top + height + _LINE * j), line, fill=(20, 20, 20))
    return np.array(canvas)


def _label(draw: "object", place: tuple[float, float], text: str, ink: tuple[int, int, int]) -> None:
    """Write a text on a plate of its colour."""
    box = draw.textbbox(place, text)  # type: ignore[attr-defined]
    draw.rectangle(box, fill=ink)  # type: ignore[attr-defined]
    dark = sum(ink) > 380
    draw.text(place, text, fill=(0, 0, 0) if dark else (255, 255, 255))  # type: ignore[attr-defined]


def _broken(text: str, width: int) -> list[str]:
    """Break a text into lines that fit ``width`` pixels in the default font."""
    from PIL import ImageFont

    font, lines = ImageFont.load_default(), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
