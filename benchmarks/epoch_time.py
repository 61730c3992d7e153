"""Time an epoch of the full digits: the lecture's programs, written anew, against `fit`.

    python benchmarks/epoch_time.py [--repeats 3]

Both run in one process and take turns, so that a busy machine slows both; the ratio of the medians
is what counts. Also timed: the 30 × 30 grid of decoded latent points, in one call and in 900.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers
from PIL import Image

from genmodels import plotting, vae_keras, vae_torch
from genmodels.datasets import load_mnist


class DigitByDigit(torch.utils.data.Dataset):
    """Digits as torchvision's MNIST with ToTensor and Normalize(0.5, 1) gives them: one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        picture = Image.fromarray(self.images[index].numpy())
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(28, 28, 1)
        tensor = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        mean, std = torch.as_tensor([0.5]).view(-1, 1, 1), torch.as_tensor([1.0]).view(-1, 1, 1)
        return tensor.clone().sub_(mean).div_(std), int(self.labels[index])


class LectureMLP(torch.nn.Module):
    """Encoder 784–512–512 with heads μ and log σ, decoder 8–512–784, as distribution objects."""

    def __init__(self):
        super().__init__()
        self.hidden = torch.nn.Sequential(
            torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU())
        self.mu, self.log_sigma = torch.nn.Linear(512, 8), torch.nn.Linear(512, 8)
        self.decoder = torch.nn.Sequential(
            torch.nn.Linear(8, 512), torch.nn.ReLU(), torch.nn.Linear(512, 784), torch.nn.Tanh())

    def forward(self, x):
        hidden = self.hidden(x)
        q = torch.distributions.Normal(self.mu(hidden), self.log_sigma(hidden).exp())
        output = self.decoder(q.rsample())
        return torch.distributions.Normal(output, torch.ones_like(output)), q


def lecture_torch_epoch(model, optimizer, loader) -> None:
    prior = torch.distributions.Normal(0.0, 1.0)
    for pixels, _ in loader:
        x = pixels.view(-1, 784)
        optimizer.zero_grad()
        p, q = model(x)
        log_likelihood = p.log_prob(x).sum(-1).mean()
        kl = torch.distributions.kl_divergence(q, prior).sum(-1).mean()
        loss = kl - log_likelihood
        loss.backward()
        optimizer.step()
        loss.item()


class DrawLatent(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        return mean + tf.exp(0.5 * log_var) * tf.random.normal(tf.shape(mean))


class LectureConv(keras.Model):
    """The convolutional VAE with probabilities as output and a train_step of its own."""

    def __init__(self):
        super().__init__()
        x = keras.Input((28, 28, 1))
        y = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
        y = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(y)
        y = layers.Dense(16, activation="relu")(layers.Flatten()(y))
        mean, log_var = layers.Dense(2)(y), layers.Dense(2)(y)
        self.encoder = keras.Model(x, [mean, log_var, DrawLatent()([mean, log_var])])
        h = keras.Input((2,))
        y = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, activation="relu")(h))
        y = layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu")(y)
        y = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(y)
        self.decoder = keras.Model(
            h, layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(y))
        self.trackers = [keras.metrics.Mean(n) for n in ("loss", "reconstruction_loss", "kl_loss")]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var, h = self.encoder(data)
            cross_entropy = keras.losses.binary_crossentropy(data, self.decoder(h))
            reconstruction = tf.reduce_mean(tf.reduce_sum(cross_entropy, axis=(1, 2)))
            kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
            kl = tf.reduce_mean(tf.reduce_sum(kl, axis=1))
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction, kl), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def compare(name: str, lecture, ours, repeats: int) -> None:
    """Time both in turn, after one warm-up each, and print the medians and their ratio."""
    seconds = {lecture: [], ours: []}
    for repeat in range(repeats + 1):
        for run in (lecture, ours):
            start = time.perf_counter()
            run()
            if repeat:
                seconds[run].append(time.perf_counter() - start)
    medians = [statistics.median(seconds[run]) for run in (lecture, ours)]
    print(f"{name}: lecture {medians[0]:.2f} s, ours {medians[1]:.2f} s, "
          f"{medians[0] / medians[1]:.2f} times faster", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    digits = load_mnist()
    images = digits.train_images.astype(np.float32) / 255
    print(f"{digits.name}; {torch.get_num_threads()} threads; Keras on {keras.backend.backend()}")

    mlp = LectureMLP()
    adam = torch.optim.Adam(mlp.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(
        DigitByDigit(digits.train_images, digits.train_labels), batch_size=128, shuffle=True)
    ours = vae_torch.MLPVAE()
    compare("MLPVAE in PyTorch, an epoch", lambda: lecture_torch_epoch(mlp, adam, loader),
            lambda: vae_torch.fit(ours, images, num_epochs=1, progress=False), repeats)

    conv = LectureConv()
    conv.compile(optimizer=keras.optimizers.Adam())
    pixels = images[..., None]
    model, history = vae_keras.ConvVAE(), None

    def fit_on():
        nonlocal history  # so that Keras compiles once, as it does in the lecture's program
        history = vae_keras.fit(model, images, num_epochs=1, history=history, progress=False)

    compare("ConvVAE in Keras, an epoch",
            lambda: conv.fit(pixels, epochs=1, batch_size=128, verbose=0), fit_on, repeats)

    points = np.random.default_rng(0).normal(size=(900, 1, 2)).astype(np.float32)
    compare("30 × 30 latent grid", lambda: [model.decoder.predict(h, verbose=0) for h in points],
            lambda: plotting.latent_grid(model, num_points=30), 1)


if __name__ == "__main__":
    main()
