"""Draw the picture that goes with a shared address: the course's title above digits out of noise.

    python scripts/make_social_picture.py

It is made from the picture of the home page, see `make_home_picture.py`.
"""

from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "chapters" / "figures" / "digits_out_of_noise.png"
PICTURE = ROOT / "book" / "static" / "social.png"
SIZE, MARGIN = (1200, 630), 40
FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
LINES = [("DejaVuSans-Bold.ttf", 58, "Deep Generative Models"),
         ("DejaVuSans-Bold.ttf", 58, "for the Physical Sciences"),
         ("DejaVuSans.ttf", 30, "Latent variables, VAEs and diffusion: derived, then checked")]


def main() -> None:
    picture = Image.new("RGB", SIZE, "black")
    draw, y = ImageDraw.Draw(picture), 36
    for name, size, text in LINES:
        draw.text((MARGIN, y), text, font=ImageFont.truetype(FONTS / name, size), fill="#fcfdbf")
        y += round(1.3 * size)
    digits = Image.open(DIGITS).convert("RGB")
    digits = digits.resize((2 * digits.width, 2 * digits.height), Image.Resampling.NEAREST)
    top = y + 24
    picture.paste(digits.crop((0, digits.height - (SIZE[1] - top), *digits.size)), (MARGIN, top))
    picture.quantize(64).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
