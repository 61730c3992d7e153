"""Draw the README's picture, digits.png: ten digits made by the U-Net, from noise (top) to image.

    python .github/picture.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from genmodels import diffusion
from genmodels.models import trained, unet_torch
from genmodels.plotting import image_grid

STEPS = 50
SHOWN = (50, 24, 18, 13, 8, 0)  # steps that remain

network = unet_torch.UNet()
trained.load(network, "unet-simple")
noise = np.random.default_rng(4).standard_normal((10, 28, 28)).astype(np.float32)
seen = {STEPS: noise}
diffusion.ddim(network.denoiser(np.arange(10)), diffusion.NoiseSchedule.linear(STEPS), noise,
               watch=seen.__setitem__)
images = np.concatenate([np.clip(seen[t] / 2 + 0.5, 0, 1) for t in SHOWN])
grid = np.kron(image_grid(images, 10), np.ones((2, 2)))  # every pixel twice as large
plt.imsave(Path(__file__).with_name("digits.png"), grid, cmap="gray_r", vmin=0, vmax=1)
