"""Lines and labels in a terminal: eight braille dots to a character cell, labels on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from topologies.layout import Places

Spot = tuple[int, int]  # character cell: column, row

# The bit of each dot of a braille character, by row and column of the cell (Unicode, block 2800).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ARROWS = "→↘↓↙←↖↑↗"  # by eighths of a turn, y downwards


class Canvas:
    """``columns`` x ``rows`` character cells, the origin at the top left."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._dots = np.zeros((rows, columns), int)
        self._text: dict[Spot, str] = {}

    def spread(self, places: Places, label: int) -> list[Spot]:
        """Cells for positions in the plane: scaled to fill the canvas, one free label's width around each.

        Args:
            places: shape (n, 2).
            label: length of the longest label, which is centred on its cell.
        """
        low, size = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-9)
        # A flat layout keeps its proportions in height rather than being blown up to fill the canvas.
        wide, high = self.columns - label - 2, self.rows - 1
        unit = (places - low) / size
        unit[:, 1] = 0.5 + (unit[:, 1] - 0.5) * min(1.0, 2.0 * size[1] / size[0])
        taken: list[Spot] = []
        for x, y in unit:
            wish = (round(label / 2 + 1 + x * wide), round(y * high))
            taken.append(self._free(wish, taken, label))
        return taken

    def _free(self, wish: Spot, taken: list[Spot], label: int) -> Spot:
        def clear(spot: Spot) -> bool:
            return all(spot[1] != row or abs(spot[0] - column) > label + 1 for column, row in taken)

        near = sorted(
            ((wish[0], row) for row in range(self.rows)), key=lambda spot: (abs(spot[1] - wish[1]), spot[1])
        )
        return next((spot for spot in near if clear(spot)), wish)

    def line(self, start: Spot, end: Spot) -> None:
        """Dots from the middle of one cell to the middle of another."""
        x0, y0, x1, y1 = 2 * start[0] + 0.5, 4 * start[1] + 1.5, 2 * end[0] + 0.5, 4 * end[1] + 1.5
        steps = int(max(abs(x1 - x0), abs(y1 - y0))) + 1
        for x, y in zip(
            np.linspace(x0, x1, steps).astype(int), np.linspace(y0, y1, steps).astype(int), strict=True
        ):
            self._dots[y // 4, x // 2] |= _DOTS[y % 4][x % 2]

    def label(self, spot: Spot, text: str) -> None:
        """Text centred on a cell, with a blank on both sides so that lines end before it."""
        start = spot[0] - (len(text) + 1) // 2
        for offset, letter in enumerate(f" {text} "):
            self._text[start + offset, spot[1]] = letter

    def arrow(self, start: Spot, end: Spot) -> None:
        """An arrowhead on the line from ``start`` to ``end``, just before the label at its end."""
        steps = 4 * max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for part in np.linspace(1, 0, steps):
            spot = (
                round(start[0] + part * (end[0] - start[0])),
                round(start[1] + part * (end[1] - start[1])),
            )
            if spot not in self._text:
                # A cell is twice as high as wide.
                turn = np.arctan2(2 * (end[1] - start[1]), end[0] - start[0]) / (2 * np.pi)
                self._text[spot] = _ARROWS[round(turn * 8) % 8]
                return

    def lines(self) -> list[str]:
        """What was drawn, without trailing blanks."""
        return [
            "".join(
                self._text.get((column, row)) or (chr(0x2800 + dots) if dots else " ")
                for column, dots in enumerate(self._dots[row].tolist())
            ).rstrip()
            for row in range(self.rows)
        ]
