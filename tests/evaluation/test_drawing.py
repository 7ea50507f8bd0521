"""What is drawn on frames is where it was found."""

import numpy as np

from worldrl.evaluation import drawing

BLACK = np.zeros((20, 30, 3), np.uint8)


def test_a_box_is_drawn_on_its_edge_and_nowhere_else() -> None:
    drawn = drawing.boxes(BLACK, np.array([[4, 5, 14, 15]]), colour=(255, 0, 0))
    assert (drawn[5, 4:14] == (255, 0, 0)).all() and (drawn[14, 4:14] == (255, 0, 0)).all()
    assert not drawn[8:12, 7:11].any() and not drawn[:, 16:].any() and not BLACK.any()


def test_a_mask_colours_what_has_a_label() -> None:
    labels = np.zeros((20, 30), int)
    labels[:10] = 1
    drawn = drawing.masks(BLACK, labels, alpha=1.0)
    assert (drawn[:10] == drawing.PALETTE[0]).all() and not drawn[10:].any()


def test_a_cube_has_its_edges_between_neighbouring_corners() -> None:
    corners = np.array([[x, y] for x in (5, 25) for y in (5, 15) for _ in range(2)])[None]
    drawn = drawing.cubes(BLACK, corners, colour=(0, 255, 0))
    assert (drawn[5, 5:25] == (0, 255, 0)).all() and (drawn[5:15, 5] == (0, 255, 0)).all()
    assert not drawn[8:12, 8:22].any()


def test_heat_is_red_where_it_is_highest() -> None:
    drawn = drawing.heat(BLACK, np.array([[0.0, 1.0]]), alpha=1.0)
    assert drawn[0, 0].tolist() == [0, 0, 255] and drawn[0, -1].tolist() == [255, 0, 0]


def test_a_sheet_has_room_for_its_captions() -> None:
    plain = drawing.sheet([BLACK] * 3, columns=2, gap=2)
    assert plain.shape == (2 * 22 + 2, 2 * 32 + 2, 3)
    told = drawing.sheet([BLACK] * 3, columns=2, gap=2, captions=["a", "b", "c"])
    assert told.shape[0] > plain.shape[0] and (told[2:22, 2:32] == 0).all()
