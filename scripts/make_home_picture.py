"""Draw the picture of the home page and the README: ten digits out of noise.

    python scripts/make_home_picture.py

The trained U-Net (`weights/unet-simple`) is asked for each digit in turn, with guidance 1.5. Twenty
DDIM steps lead from noise, at the top, to the digit; each row is the state after some of them.
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from genmodels import diffusion, plotting
from genmodels.models import trained
from genmodels.models.unet_torch import UNet

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
PICTURE = CHAPTERS / "figures" / "digits_out_of_noise.png"
NUM_STEPS, WEIGHT, SEED = 20, 1.5, 5
SHOWN = (20, 10, 6, 4, 2, 0)  # steps still to go


def main() -> None:
    unet, digits = UNet(), np.arange(10)
    trained.load(unet, "unet-simple")
    guided = diffusion.guided(unet.denoiser(digits), unet.denoiser(), WEIGHT)
    noise = np.random.default_rng(SEED).standard_normal((10, 28, 28))
    states = {NUM_STEPS: noise}
    diffusion.ddim(guided, diffusion.NoiseSchedule.linear(NUM_STEPS), noise,
                   watch=states.__setitem__)
    rows = np.concatenate([states[t] for t in SHOWN])  # (60, 28, 28), grey levels −1 … 1
    tiles = plotting.image_grid(np.clip((rows + 1) / 2, 0, 1), 10)
    PICTURE.parent.mkdir(exist_ok=True)
    plt.imsave(PICTURE, np.kron(tiles, np.ones((2, 2))), cmap="magma", vmin=0, vmax=1)


if __name__ == "__main__":
    main()
