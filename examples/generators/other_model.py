"""Another model behind idsim in ten lines: `idsim sample examples/generators/other_model.py:draw --seeds 0-9 -o out`.

The "model" here is a made-up one, so that the example runs anywhere: smooth random colours. Put your own in its place.
"""

import numpy as np


def draw(seeds, psi=1.0):
    """Yield one picture, uint8 [height, width, 3] RGB, for every seed; it must depend on nothing but the seed."""
    for seed in seeds:
        noise = np.random.RandomState(seed).randn(4, 4, 3)
        smooth = np.kron(noise, np.ones((16, 16, 1)))
        yield (128 + 40 * psi * smooth).clip(0, 255).astype(np.uint8)


draw.description = {"licence": "CC0", "weights": "none: random colours"}  # recorded with every run
