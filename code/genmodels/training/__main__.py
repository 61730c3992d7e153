"""Trains one of the course's PyTorch models on the digits, and prints figures of held-out ones.

    python -m genmodels.training mlp-vae --num-epochs 3 --checkpoint run
    torchrun --nproc-per-node 2 --max-restarts 3 -m genmodels.training mlp-vae --num-epochs 3 \
        --checkpoint run

The second command trains in two processes, with the same result but for rounding, and starts both
again from the last checkpoint when one of them fails. Ctrl-C stops after the step under way; the
same command goes on, with any number of processes. `--help` lists the settings.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from genmodels.datasets import Mnist, load_mnist
from genmodels.training.history import RECIPES, History
from genmodels.validate import check_positive_int

__all__ = ["main"]

Figures = dict[str, np.ndarray]  # of each held-out digit, by what they are
Trained = tuple[History, Callable[[], Figures]]


def main(arguments: list[str] | None = None) -> int:
    """Trains as the arguments of the command line say; returns the exit status.

    It is 130 after Ctrl-C, as a shell has it.
    """
    parser = command_line()
    given = vars(parser.parse_args(arguments))
    model, num_examples = given.pop("model"), given.pop("num_examples", None)
    import torch  # not before `--help` is answered

    from genmodels.training.torch_parallel import joined

    with joined(given.pop("device", None)) as (rank, device), contextlib.ExitStack() as quiet:
        if rank:  # one process speaks for all
            quiet.enter_context(contextlib.redirect_stdout(None))
        torch.manual_seed(given.get("seed", 0))
        try:
            digits = load_mnist()
            if num_examples is not None:
                check_positive_int(num_examples, "num_examples")
                if num_examples > len(digits.train_images):
                    raise ValueError("num_examples must be at most the number of digits, "
                                     f"{len(digits.train_images)}, got {num_examples}")
            history, figures = MODELS[model](digits, num_examples, {**given, "device": device})
        except (TypeError, ValueError) as error:
            parser.error(str(error))
        end = history.schedule[1]
        if history.num_steps < end:
            if "checkpoint" in given:
                print(f"The same command goes on from there: {given['checkpoint']} has it all.")
            return 130
        print(f"{end} steps in {history.seconds:.1f} s, the last epoch's loss "
              f"{history['loss'][-1]:.2f}")
        if rank == 0:
            for name, values in figures().items():
                print(f"{name} of {len(values):,} held-out digits: {values.mean():.4g} "
                      f"± {values.std(ddof=1) / len(values)**0.5:.2g}")
    return 0


def command_line() -> argparse.ArgumentParser:
    """The arguments: a model, and those of `Settings`; none has a default of its own here."""
    parser = argparse.ArgumentParser(
        prog="python -m genmodels.training", argument_default=argparse.SUPPRESS,
        description="Trains a model on the digits, alone or under torchrun, and prints figures of "
                    "held-out digits, each with its standard error.")
    parser.add_argument("model", choices=MODELS)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--num-epochs", type=int)
    length.add_argument("--num-steps", type=int)
    parser.add_argument("--num-examples", type=int, help="train on the first so many digits")
    parser.add_argument("--batch-size", type=int, help="of all processes together")
    parser.add_argument("--learning-rate", type=float, help="its peak")
    parser.add_argument("--recipe", choices=RECIPES)
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--seed", type=int, help="of weights, order and noise")
    parser.add_argument("--device", help="cpu, cuda:0, …; a GPU for each process, if not given")
    parser.add_argument("--checkpoint", metavar="FOLDER",
                        help="written every 100 steps; the run goes on from what it holds")
    parser.add_argument("--no-progress", dest="progress", action="store_false")
    return parser


def vae(name: str) -> Callable[[Mnist, int | None, dict[str, Any]], Trained]:
    """How a VAE of the module vae_torch is trained."""
    def trained(digits: Mnist, n: int | None, settings: dict[str, Any]) -> Trained:
        from genmodels.models import vae_torch
        model = getattr(vae_torch, name)()
        history = vae_torch.fit(model, grey(digits.train_images[:n]), **settings)
        return history, lambda: minus_elbo(model, grey(digits.test_images))

    return trained


def binary_vae(digits: Mnist, n: int | None, settings: dict[str, Any]) -> Trained:
    """The VAE of binary images, on the ELBO."""
    import torch

    from genmodels.models import iwae_torch
    images = grey(digits.train_images[:n])
    model = iwae_torch.BinaryVAE(mean_image=images.mean(axis=0))
    history = iwae_torch.fit(model, images, **settings)
    return history, lambda: minus_elbo(model, iwae_torch.binarise(
        grey(digits.test_images), torch.Generator().manual_seed(0)))


def unet(digits: Mnist, n: int | None, settings: dict[str, Any]) -> Trained:
    """The U-Net, on the simple loss."""
    from genmodels.models import unet_torch
    model = unet_torch.UNet()
    history = unet_torch.fit(model, grey(digits.train_images[:n]), digits.train_labels[:n],
                             **settings)
    return history, lambda: {"‖ε − ε̂‖²": unet_torch.loss_terms(
        model, grey(digits.test_images), digits.test_labels)}


def classifier(digits: Mnist, n: int | None, settings: dict[str, Any]) -> Trained:
    """The classifier."""
    from genmodels.models import classifier_torch
    model = classifier_torch.Classifier()
    history = classifier_torch.fit(model, grey(digits.train_images[:n]), digits.train_labels[:n],
                                   **settings)
    return history, lambda: {"share classified correctly": (
        model.classify(grey(digits.test_images)) == digits.test_labels).astype(float)}


MODELS = {"mlp-vae": vae("MLPVAE"), "conv-vae": vae("ConvVAE"), "binary-vae": binary_vae,
          "unet": unet, "classifier": classifier}


def grey(images: np.ndarray) -> np.ndarray:
    """Grey values in [0, 1] (n, 28, 28), float32."""
    return images.astype(np.float32) / 255


def minus_elbo(model: Any, x: Any) -> Figures:
    """−ELBO of each example."""
    from genmodels.models.vae_torch import evaluate
    log_likelihood, kl = evaluate(model, x)
    return {"−ELBO in nats": kl - log_likelihood}


if __name__ == "__main__":
    sys.exit(main())
