"""The lecture's PyTorch program, written anew as it was: what our own `fit` is compared with.

Digits one by one through a loader, distribution objects, loss.item() at each step; batch 128, Adam
1e-3. The Keras program is in lecture_keras.py, and here translated to PyTorch, for machines without
TensorFlow. PyTorch and NumPy are enough; without Pillow a digit is copied once less.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

try:
    from PIL import Image
except ImportError:
    Image = None


class DigitByDigit(torch.utils.data.Dataset):
    """Digits as torchvision's MNIST with ToTensor and Normalize(0.5, 1) gives them: one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        picture = self.images[index].numpy()
        picture = Image.fromarray(picture) if Image else picture
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


def lecture_torch_epoch(model: LectureMLP, optimizer: torch.optim.Optimizer,
                        loader: Iterable) -> None:
    device = next(model.parameters()).device
    prior = torch.distributions.Normal(0.0, 1.0)
    for pixels, _ in loader:
        x = pixels.view(-1, 784).to(device)
        optimizer.zero_grad()
        p, q = model(x)
        log_likelihood = p.log_prob(x).sum(-1).mean()
        kl = torch.distributions.kl_divergence(q, prior).sum(-1).mean()
        loss = kl - log_likelihood
        loss.backward()
        optimizer.step()
        loss.item()


class LectureConv(torch.nn.Module):
    """The networks of the lecture's Keras program, layer by layer, in PyTorch: not as written."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.hidden = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(),
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 16), nn.ReLU())
        self.mean, self.log_var = nn.Linear(16, 2), nn.Linear(16, 2)
        self.decoder = nn.Sequential(
            nn.Linear(2, 64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 64, 3, 2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, 2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x):
        hidden = self.hidden(x)
        mean, log_var = self.mean(hidden), self.log_var(hidden)
        h = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decoder(h), mean, log_var


def lecture_conv_epoch(model: LectureConv, optimizer: torch.optim.Optimizer,
                       loader: Iterable) -> None:
    """The steps of the lecture's train_step, with its three running means, in PyTorch."""
    device = next(model.parameters()).device
    totals = torch.zeros(3, device=device)
    for pixels, _ in loader:
        x = pixels.to(device)
        optimizer.zero_grad()
        output, mean, log_var = model(x)
        cross_entropy = torch.nn.functional.binary_cross_entropy(output, x, reduction="none")
        reconstruction = cross_entropy.sum(dim=(1, 2, 3)).mean()
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp())
        kl = kl.sum(dim=1).mean()
        loss = reconstruction + kl
        loss.backward()
        optimizer.step()
        totals += torch.stack([loss, reconstruction, kl]).detach()


def lecture_loader(images: np.ndarray, labels: np.ndarray) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(DigitByDigit(images, labels), batch_size=128, shuffle=True,
                                       pin_memory=torch.cuda.is_available())


def in_memory(pixels: torch.Tensor) -> Iterator[tuple[torch.Tensor, None]]:
    """One epoch of batches as the loader gives them, of pixels that are tensors already."""
    for rows in torch.randperm(len(pixels), device=pixels.device).split(128):
        yield pixels[rows], None
