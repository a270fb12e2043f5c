"""Colours and sizes that all figures share."""

from typing import Final

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#7A7A7A", "#D9D9D9"

CYCLE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK)
"""Okabe and Ito's colours, told apart by all eyes."""

WIDTH: Final = 12.0  # 1200 pixels at 100 per inch [in]
