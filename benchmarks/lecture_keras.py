"""The lecture's Keras program, written anew as it was: what our own `fit` is compared with.

A model with a train_step of its own, probabilities in place of logits; batch 128, Adam 1e-3. It
needs TensorFlow; `lecture_programs.LectureConv` has the same steps in PyTorch.
"""

import keras
import tensorflow as tf
from keras import layers


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
