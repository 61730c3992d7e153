"""The lecture's two programs, written anew as they were: what our own `fit` is compared with.

PyTorch: digits one by one through a loader, distribution objects, loss.item() at each step.
Keras: a model with a train_step of its own, probabilities in place of logits. Batch 128, Adam 1e-3.
"""

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers
from PIL import Image


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


def lecture_loader(images: np.ndarray, labels: np.ndarray) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(DigitByDigit(images, labels), batch_size=128, shuffle=True)
