"""Weight files: what is saved comes back, and nothing else is accepted."""

import hashlib
import json
import pickle
import struct

import numpy as np
import pytest
import torch

from genmodels.models import (
    classifier_torch,
    flow_torch,
    iwae_torch,
    lattice_torch,
    masked_torch,
    trained,
    unet_torch,
    vae_keras,
    vae_torch,
)
from genmodels.models.conversion import from_arrays, to_arrays

pytestmark = pytest.mark.keras


def small(framework=vae_torch, seed=0, hidden_dim=4):
    model = framework.MLPVAE(latent_dim=2, hidden_dim=hidden_dim)
    rng = np.random.default_rng(seed)
    from_arrays(model, {name: rng.standard_normal(array.shape).astype(np.float32)
                        for name, array in to_arrays(model).items()})
    return model


@pytest.fixture
def saved(tmp_path):
    trained.save(small(), "small", {"seed": 0}, tmp_path)
    return tmp_path


@pytest.mark.parametrize("framework", [vae_torch, vae_keras], ids=["torch", "keras"])
def test_what_is_saved_comes_back_in_either_framework(saved, framework):
    model = small(framework, seed=1)
    trained.load(model, "small", saved)
    ours, theirs = to_arrays(model), to_arrays(small())
    for name in theirs:  # rounded to half precision once, then exact
        np.testing.assert_array_equal(ours[name], theirs[name].astype(np.float16))
    assert trained.names(saved) == ["small"]
    card = trained.card("small", saved)
    assert card["seed"] == 0 and card["model"] == "MLPVAE"
    assert card["sha256"] == hashlib.sha256((saved / "small.safetensors").read_bytes()).hexdigest()


def refused(saved, message, model=None, error=ValueError):
    """Loading raises, and leaves the model alone."""
    model = model or small(seed=1)
    before = to_arrays(model)
    with pytest.raises(error, match=message):
        trained.load(model, "small", saved)
    for name, array in to_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


def replace(saved, data):
    """Another file, whose checksum the card knows."""
    (saved / "small.safetensors").write_bytes(data)
    card = json.loads((saved / "small.json").read_text())
    card["sha256"] = hashlib.sha256(data).hexdigest()
    (saved / "small.json").write_text(json.dumps(card))


def test_a_changed_bit_is_noticed(saved):
    data = bytearray((saved / "small.safetensors").read_bytes())
    data[-1] ^= 1
    (saved / "small.safetensors").write_bytes(data)
    refused(saved, r"small\.safetensors must have the SHA-256 sum on its card, .*, got ")


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


NO_SAFETENSORS = {
    "empty": lambda data: b"",
    "truncated length": lambda data: data[:5],
    "truncated header": lambda data: data[:60],
    "truncated data": lambda data: data[:-2],
    "header too long": lambda data: struct.pack("<Q", 2**40) + data[8:],
    "pickle": lambda data: pickle.dumps(Malicious()),
    "pickle with a length": lambda data: struct.pack("<Q", 20) + pickle.dumps(Malicious()),
}


@pytest.mark.parametrize("spoil", NO_SAFETENSORS.values(), ids=NO_SAFETENSORS)
def test_what_is_no_safetensors_file_is_refused(saved, spoil):
    replace(saved, spoil((saved / "small.safetensors").read_bytes()))
    refused(saved, r"small\.safetensors must be an intact safetensors file, got: ")


def test_a_file_of_torch_save_is_not_unpickled(saved, tmp_path):
    torch.save({"weight": Malicious()}, tmp_path / "file.pt")
    replace(saved, (tmp_path / "file.pt").read_bytes())
    refused(saved, "must be an intact safetensors file")


def test_weights_must_fit_the_model(saved):
    refused(saved, "model must have hidden_dim=4", small(seed=1, hidden_dim=8))
    refused(saved, "must be a MLPVAE .* got ConvVAE", vae_torch.ConvVAE())


def test_a_child_of_a_model_is_a_model(tmp_path):
    """As in `conversion`: its weights are those of its parent."""
    class Mine(vae_torch.ConvVAE):
        pass

    trained.save(Mine(shape=(8, 8)), "mine", {}, tmp_path)
    assert trained.card("mine", tmp_path)["model"] == "ConvVAE"
    for kind in (vae_torch.ConvVAE, vae_keras.ConvVAE, Mine):
        trained.load(kind(shape=(8, 8)), "mine", tmp_path)


def test_a_card_is_needed(saved):
    (saved / "small.json").write_text("{")
    refused(saved, r"card .*small\.json is missing or damaged")
    (saved / "small.json").unlink()
    refused(saved, r"card .*small\.json is missing or damaged")


def test_wrong_names(saved):
    with pytest.raises(ValueError, match="name must be one of small, got 'large'"):
        trained.load(small(), "large", saved)
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        trained.card(3, saved)


def test_weights_beyond_half_precision_are_not_saved(tmp_path):
    model = small()
    with torch.no_grad():
        model.decoder[0].bias[0] = 1e5
    with pytest.raises(ValueError, match=r"decoder\.0\.bias"):
        trained.save(model, "small", {}, tmp_path)
    assert trained.names(tmp_path) == []


# The files that come with the package -------------------------------------------------------------

CARD = ["model", "command", "data", "seed", "versions", "date", "seconds", "figures", "sha256"]


@pytest.mark.parametrize("name", trained.names())
def test_the_weights_of_the_package_fit_and_have_a_full_card(name):
    card = trained.card(name)
    assert all(card[key] not in (None, "", {}) for key in CARD)
    models = {"BinaryVAE": iwae_torch.BinaryVAE, "UNet": unet_torch.UNet,
              "ConvVAE": lambda: vae_torch.ConvVAE(latent_dim=16),
              "MLPVAE": lambda: vae_torch.MLPVAE(**card["description"]),
              "Classifier": classifier_torch.Classifier,
              "LatticeDenoiser": lambda: lattice_torch.LatticeDenoiser(**card["description"]),
              "MaskedSpins": lambda: masked_torch.MaskedSpins(num_labels=3),
              "Flow": lambda: flow_torch.Flow(**card["description"])}
    trained.load(models[card["model"]](), name)


def test_the_weights_of_the_package_are_small():
    assert sum(path.stat().st_size for path in trained.FOLDER.glob("*")) < 5e6
