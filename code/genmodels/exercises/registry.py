"""Which exercises there are: the names of each chapter's, and what is said of each with its check.

A new exercise is a name in `BY_CHAPTER` and, in the module of that chapter, a function of the same
name that tests the answers, decorated with `exercise`. A new chapter is a line in
`chapters.tests_of`, too.
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BY_CHAPTER", "CHAPTER_OF", "KINDS", "Exercise", "exercise", "function_of", "module_of"]

KINDS = ("derive", "build", "explore")
# By the names of the notebooks, which are those of the modules in `chapters`, too.
BY_CHAPTER = {
    "learning_distributions": ("unseen-mass", "chain-coupling", "two-level-thermometer",
                               "perfect-autoencoder", "narrow-kernels"),
    "latent_variables": ("free-energy-of-wells", "prior-estimate", "evidence-small-matrices",
                         "prior-samples-needed", "proposal-width"),
    "kl_divergence": ("kl-wrong-temperature", "kl-suspect", "kl-nonnegative-terms",
                      "kl-coupled-oscillators", "kl-heavy-tails"),
    "elbo": ("three-elbo-programs", "elbo-entropy", "shifted-posterior", "elbo-data-set",
             "ising-pair"),
    "gradients": ("antiferromagnet", "minibatch-noise", "three-gradient-programs",
                  "one-sample-loss", "gradient-noise"),
    "vae_keras": ("spin-terms", "grey-pixel-floor", "first-loss", "what-a-code-tells",
                  "mean-over-pixels"),
    "vae_torch": ("three-curves", "best-decoder-variance", "gradient-paths",
                  "held-out-evaluation", "elbo-at-the-mean"),
    "two_frameworks": ("keras-to-torch", "same-padding", "adam-epsilon", "hidden-kl-weight",
                       "initial-gain"),
    "collapse": ("wasted-nats", "free-nats", "kept-checkpoint", "spin-chain-saddle",
                 "paired-seeds"),
    "linear_vae": ("learned-noise", "soft-modes", "landau-phases", "momentum-slowing",
                   "count-kept"),
    "bounds": ("largest-of-ten", "log-normal-weights", "sudden-spring", "missed-mode",
               "subtract-the-bias"),
    "comparing": ("bits-of-any-range", "held-out-variance", "paired-digits",
                  "read-the-histograms", "digitised-noise"),
    "conditional": ("pulled-spring", "regression-loses", "digit-without-label", "unseen-half",
                    "bound-given-x"),
    "hierarchical": ("chain-work", "noise-too-fast", "posterior-any-step",
                     "denoising-sum-estimate", "ancestral-width"),
    "parameterisations": ("hidden-weights", "denoiser-of-a-data-set", "second-order-tweedie",
                          "continuous-time-weights", "spread-the-times"),
    "samplers": ("mixture-noisy-score", "wells-in-a-field", "ddim-shrinks", "hot-reverse-sde",
                 "reverse-drift-eta"),
    "digits": ("batch-simple-loss", "loss-levels", "zero-or-nine", "elbo-bits", "frechet-floor"),
    "likelihood_guidance": ("flow-log-likelihood", "volume-and-entropy", "signs-or-normal",
                            "guided-ode-variance", "label-that-shifts"),
    "boltzmann": ("broken-symmetry", "thinned-chain", "wrong-bonds", "stiffest-mode", "how-long"),
    "spins_vae": ("curie-weiss-field", "bent-codes", "thresholded-magnet", "energy-by-modes",
                  "hidden-order"),
    "masked_spins": ("ring-in-few-steps", "block-cost", "which-weight", "missed-phase",
                     "read-the-hamiltonian"),
    "lattice_fields": ("read-the-table", "shared-angle", "make-it-odd", "field-by-weights",
                       "four-log-z"),
}
CHAPTER_OF = {name: chapter for chapter, names in BY_CHAPTER.items() for name in names}


@dataclass(frozen=True)
class Exercise:
    """An exercise: what the list of exercises shows of it, and the test of its answers."""

    name: str
    chapter: str  # the name of its notebook
    kind: str
    difficulty: int  # 1 to 3
    minutes: int
    identities: tuple[str, ...]
    right: str
    test: Callable[..., None]


def exercise(name: str, *, kind: str, difficulty: int, minutes: int, right: str,
             identities: tuple[str, ...] = ()) -> Callable:
    """Make the decorated function the test of the answers to an exercise.

    The function takes the answers, raises `NotYet` if they are wrong, and returns if they are
    right; then the student reads `right`. It has the name of the exercise, with underscores, and
    stands in the module of the exercise's chapter: there `chapters.find` looks for it.
    """
    if name not in CHAPTER_OF:
        raise ValueError(f"name must be one of those in BY_CHAPTER, got {name!r}")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if difficulty not in (1, 2, 3):
        raise ValueError(f"difficulty must be 1, 2 or 3, got {difficulty!r}")

    def register(test: Callable[..., None]) -> Callable[..., None]:
        place = module_of(name), function_of(name)
        if (test.__module__, test.__qualname__) != place:
            raise ValueError(f"the test of {name!r} must be {'.'.join(place)}, got "
                             f"{test.__module__}.{test.__qualname__}")
        test.exercise = Exercise(name, CHAPTER_OF[name], kind, difficulty, minutes,
                                 tuple(identities), right, test)
        return test

    return register


def module_of(name: str) -> str:
    """Return the module with the test of the answers to an exercise."""
    return f"genmodels.exercises.chapters.{CHAPTER_OF[name]}"


def function_of(name: str) -> str:
    """Return the name of the test of the answers to an exercise."""
    return name.replace("-", "_")
