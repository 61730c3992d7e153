"""The tests of the exercises' answers, a module for each chapter, and what finds them."""

from types import ModuleType

from genmodels.exercises.registry import CHAPTER_OF, Exercise, function_of

__all__ = ["find", "load", "tests_of"]


def tests_of(chapter: str) -> ModuleType:
    """Import the module of a chapter, and no other: the first answer would wait for them all.

    Nothing is kept here, so that any of these modules may be reloaded.
    """
    match chapter:
        case "learning_distributions":
            import genmodels.exercises.chapters.learning_distributions as tests
        case "latent_variables":
            import genmodels.exercises.chapters.latent_variables as tests
        case "kl_divergence":
            import genmodels.exercises.chapters.kl_divergence as tests
        case "elbo":
            import genmodels.exercises.chapters.elbo as tests
        case "gradients":
            import genmodels.exercises.chapters.gradients as tests
        case "vae_keras":
            import genmodels.exercises.chapters.vae_keras as tests
        case "vae_torch":
            import genmodels.exercises.chapters.vae_torch as tests
        case "two_frameworks":
            import genmodels.exercises.chapters.two_frameworks as tests
        case "collapse":
            import genmodels.exercises.chapters.collapse as tests
        case "linear_vae":
            import genmodels.exercises.chapters.linear_vae as tests
        case "bounds":
            import genmodels.exercises.chapters.bounds as tests
        case "comparing":
            import genmodels.exercises.chapters.comparing as tests
        case "conditional":
            import genmodels.exercises.chapters.conditional as tests
        case "hierarchical":
            import genmodels.exercises.chapters.hierarchical as tests
        case "parameterisations":
            import genmodels.exercises.chapters.parameterisations as tests
        case "digits":
            import genmodels.exercises.chapters.digits as tests
        case "samplers":
            import genmodels.exercises.chapters.samplers as tests
        case "likelihood_guidance":
            import genmodels.exercises.chapters.likelihood_guidance as tests
        case "boltzmann":
            import genmodels.exercises.chapters.boltzmann as tests
        case "spins_vae":
            import genmodels.exercises.chapters.spins_vae as tests
        case "masked_spins":
            import genmodels.exercises.chapters.masked_spins as tests
        case "lattice_fields":
            import genmodels.exercises.chapters.lattice_fields as tests
        case _:
            raise ValueError(f"chapter must be one with exercises, got {chapter!r}")
    return tests


def find(name: str) -> Exercise | None:
    """Return an exercise, or None if there is none of this name."""
    if name not in CHAPTER_OF:
        return None
    return getattr(tests_of(CHAPTER_OF[name]), function_of(name)).exercise


def load() -> dict[str, Exercise]:
    """Return all exercises by name, chapter by chapter; imports the tests of all chapters."""
    return {name: find(name) for name in CHAPTER_OF}
