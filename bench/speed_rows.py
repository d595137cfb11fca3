"""All rows of speed.py, by title, in the order of the page."""

import speed_explanations
import speed_gradients
import speed_style
import speed_training

ROWS = {**speed_gradients.ROWS, **speed_style.ROWS, **speed_explanations.ROWS, **speed_training.ROWS}
