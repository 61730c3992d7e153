"""The latent plane of a trained VAE: what its page is given, and its still picture.

    python book/live/latent_plane.py

writes chapters/vae/figures/live_latent_plane.svg, the state in which the page starts. With full
MNIST (GENMODELS_DATA) it first encodes test digits anew, into book/live/latent_plane_means.json.
"""

import base64
import functools
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_hex

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from genmodels import plotting
from genmodels.datasets import load_mnist
from genmodels.models import trained

__all__ = ["EDGE", "FIGURE", "MEANS", "data", "encoded_means", "model", "still"]

FIGURE = Path(__file__).parents[2] / "chapters/vae/figures/live_latent_plane.svg"
MEANS = Path(__file__).with_name("latent_plane_means.json")
WEIGHTS, NUM_A_DIGIT = "vae-plane", 25
EDGE, START = 4.0, (2.0, -0.5)  # half the plane's side; the point that is shown first


@functools.cache
def model():
    """Return the trained VAE."""
    from genmodels.models import vae_torch  # slow to import

    vae = vae_torch.MLPVAE(latent_dim=2, hidden_dim=200, likelihood="bernoulli")
    trained.load(vae, WEIGHTS)
    return vae


def encoded_means() -> list[list[list[float]]]:
    """Return the encoder's means of the first test digits of each class, to two decimals.

    Raises:
        ValueError: the data are the bundled digits, with which the model was trained.
    """
    digits = load_mnist()
    if len(digits.test_images) != 10_000:
        raise ValueError("GENMODELS_DATA must be the path of the full mnist.npz, "
                         f"got {digits.name}")
    first = [np.flatnonzero(digits.test_labels == digit)[:NUM_A_DIGIT] for digit in range(10)]
    images = digits.test_images[np.concatenate(first)].astype(np.float32) / 255
    means = model().encode(images)[0].detach().numpy().astype(float)
    return means.round(2).reshape(10, NUM_A_DIGIT, 2).tolist()


def data() -> dict:
    """Return the decoder's weights (half precision, base64), and where test digits lie."""
    from safetensors.numpy import load_file

    weights = load_file(trained.FOLDER / f"{WEIGHTS}.safetensors")
    loss = trained.card(WEIGHTS)["figures"]["losses"][0]  # −ELBO
    with plt.style.context("genmodels.course"):
        colours = [to_hex(name) for name in plotting.DIGIT_COLOURS]
    return {"weights": {name: base64.b64encode(array.astype("<f2").tobytes()).decode()
                        for name, array in weights.items() if name.startswith("decoder.")},
            "means": json.loads(MEANS.read_text(encoding="utf-8")),
            "colours": colours, "edge": EDGE, "start": START,
            "loss": [loss["mean"], loss["standard_error"]]}


# The still picture ------------------------------------------------------------------------------

SIZE = 270  # of the plane, and of the digit


def still() -> str:
    """Return the SVG of the state in which the page starts: the plane, and the decoded digit."""
    given = data()
    marks = []
    for digit, (colour, means) in enumerate(zip(given["colours"], given["means"])):
        mixed = f"fill: color-mix(in srgb, {colour} 65%, currentColor)"  # as in the page
        marks.append(f'<g fill="{colour}" style="{mixed}">')
        marks += [f'<text x="{x:.1f}" y="{y + 4:.1f}">{digit}</text>'
                  for x, y in SIZE / 2 + np.array(means) * [1, -1] * SIZE / (2 * EDGE)]
        marks.append("</g>")
    pixels = model().decode(np.array([START], np.float32))[0].detach().numpy()
    side = SIZE / len(pixels)
    shape = f"h{side:.2f}v{side:.2f}h-{side:.2f}z"
    squares = [f'<path d="M{column * side:.2f} {row * side:.2f}{shape}" '
               f'fill="white" fill-opacity="{pixels[row, column]:.2f}"/>'
               for row, column in np.argwhere(pixels >= 0.005)]
    x, y = SIZE / 2 + np.array(START) * [1, -1] * SIZE / (2 * EDGE)
    lines = f"M0 {SIZE / 2}H{SIZE}M{SIZE / 2} 0V{SIZE}"
    newline = "\n"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 {SIZE + 10}" '
            'style="color: black; background: white">\n'
            '<g transform="translate(4 5)">\n'
            f'<path d="{lines}" stroke="currentColor" stroke-opacity="0.3" fill="none"/>\n'
            '<g font-family="sans-serif" font-size="13" font-weight="bold" text-anchor="middle">\n'
            f'{newline.join(marks)}\n</g>\n'
            f'<rect width="{SIZE}" height="{SIZE}" fill="none" stroke="currentColor" '
            'stroke-opacity="0.4"/>\n'
            f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" '
            'stroke="currentColor" stroke-width="2.5"/>\n</g>\n'
            f'<g transform="translate({560 - SIZE - 4} 5)" class="pixels" '
            'shape-rendering="crispEdges">\n'
            f'<rect width="{SIZE}" height="{SIZE}" fill="rgb(0, 0, 0)"/>\n'
            f'{newline.join(squares)}\n</g>\n</svg>\n')


def main() -> None:
    try:
        rows = (json.dumps(means, separators=(",", ":")) for means in encoded_means())
        MEANS.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    except ValueError as error:
        print(f"{MEANS.name} stays as it is: {error}")
    FIGURE.write_text(still(), encoding="utf-8")


if __name__ == "__main__":
    main()
