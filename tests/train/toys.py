"""Two small tasks of the trainer's kind: a network with a critic, and a network alone."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def raw(network: nn.Module) -> nn.Module:
    return getattr(network, "module", network)


class Autoencoder(nn.Module):
    """Sizes that two ranks do not divide evenly, a frozen parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(7, 3), nn.Linear(3, 7)
        self.gain = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return self.up(torch.tanh(self.down(x))) * self.gain


class Adversarial:
    """A generator and its critic, hinge losses; `live` leaves the critic trainable in the generator's turn."""

    def __init__(self, live: bool = False):
        self.live = live

    def networks(self) -> dict[str, nn.Module]:
        critic = nn.Sequential(nn.Linear(7, 11), nn.LeakyReLU(0.2), nn.Linear(11, 1))
        return {"codec": Autoencoder(), "critic": critic}

    def losses(self, nets: dict[str, nn.Module], batch: dict, step: int) -> Iterator[tuple[str, Tensor, dict]]:
        x = batch["x"]
        made = nets["codec"](x)
        told = nets["critic"](torch.cat([x, made.detach()]))
        real, fake = told.chunk(2)
        critic_loss = torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()
        yield "critic", critic_loss, {"critic": critic_loss.detach()}
        critic = raw(nets["critic"])
        critic.requires_grad_(self.live)
        distance = (made - x).square().mean()
        adversarial = torch.relu(1 - critic(made)).mean()
        loss = distance + 0.5 * adversarial
        yield "codec", loss, {"distance": distance.detach(), "adversarial": adversarial.detach()}
        critic.requires_grad_(True)

    def evaluate(self, nets: dict[str, nn.Module], batch: dict) -> dict[str, Tensor]:
        return {"distance": (nets["codec"](batch["x"]) - batch["x"]).square().mean(1)}


class Regression:
    """One network; the loss is NaN for rows named in `poison`."""

    def __init__(self, poison: tuple[str, ...] = ()):
        self.poison = poison

    def networks(self) -> dict[str, nn.Module]:
        return {"codec": Autoencoder()}

    def losses(self, nets: dict[str, nn.Module], batch: dict, step: int) -> Iterator[tuple[str, Tensor, dict]]:
        loss = (nets["codec"](batch["x"]) - batch["x"]).square().mean()
        if set(self.poison) & set(batch["ids"]):
            loss = loss * float("nan")
        yield "codec", loss, {"distance": loss.detach()}

    def evaluate(self, nets: dict[str, nn.Module], batch: dict) -> dict[str, Tensor]:
        return {"distance": (nets["codec"](batch["x"]) - batch["x"]).square().mean(1)}


def rows(step: int, count: int = 8) -> dict:
    """The global batch of a step."""
    generator = torch.Generator().manual_seed(1000 + step)
    return {"x": torch.randn(count, 7, generator=generator), "ids": [f"{step}-{i}" for i in range(count)]}


def part(batch: dict, rank: int, world: int) -> dict:
    """A rank's share of a global batch."""
    size = len(batch["ids"]) // world
    return {key: value[rank * size : (rank + 1) * size] for key, value in batch.items()}
