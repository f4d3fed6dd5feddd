"""A network trained by balanced losses: under DeepSpeed engines, and the same by plain autograd."""

import torch
from torch import Tensor, distributed, nn

from t2a.losses.balancer import Balancer, output_gradients, surrogate
from t2a.train.optim import OptimConfig
from t2a.train.protocol import EngineConfig

ROWS, STEPS, LR = 4, 5, 0.05
WEIGHTS = {"near": 0.1, "bent": 3.0}
# AdamW of such an eps descends along the gradient itself, so that an error in it is one of the weights.
OPTIM = OptimConfig(lr=LR, eps=1.0, betas=(0.0, 0.0), weight_decay=0.0)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 4, 5, padding=2), nn.Tanh(), nn.Conv1d(4, 1, 5, padding=2))


def waves(step: int) -> Tensor:
    return torch.randn(ROWS, 1, 60, generator=torch.Generator().manual_seed(step))


def losses(output: Tensor, wave: Tensor) -> dict[str, Tensor]:
    return {"near": 50 * (output - wave).abs().mean(), "bent": 0.01 * (output - wave.tanh()).square().mean()}


def balanced() -> dict[int, dict[str, Tensor]]:
    """Weights by ZeRO stage, trained on this rank's half of the rows."""
    from t2a.train.engine import ZeroEngine

    rank, found = distributed.get_rank(), {}
    for zero in range(4):
        config = EngineConfig(zero=zero, clip=None)
        engine = ZeroEngine(network(), OPTIM, config, torch.device("cpu"), ROWS // 2)
        balancer = Balancer(WEIGHTS, decay=0.9)
        for step in range(STEPS):
            wave = waves(step).chunk(2)[rank]
            output = engine(wave)
            leaf = output.detach().requires_grad_()
            gradient, _ = balancer(output_gradients(losses(leaf, wave), leaf))
            engine.backward(surrogate(output, gradient))
            engine.step(LR)
        found[zero] = engine.full()
    return found


def by_autograd() -> dict[str, Tensor]:
    """All rows in one process: each loss times its share over the running mean of a clip's gradient norm."""
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, eps=1.0, betas=(0.0, 0.0), weight_decay=0.0)
    norms: dict[str, list[float]] = {name: [] for name in WEIGHTS}
    for step in range(STEPS):
        wave = waves(step)
        output = net(wave)
        total = torch.zeros(())
        for name, loss in losses(output, wave).items():
            (pull,) = torch.autograd.grad(loss, output, retain_graph=True)
            norms[name].append((ROWS * pull).flatten(1).norm(dim=1).mean().item())
            ages = [0.9**age for age in reversed(range(len(norms[name])))]
            mean = sum(a * n for a, n in zip(ages, norms[name], strict=True)) / sum(ages)
            total = total + WEIGHTS[name] / sum(WEIGHTS.values()) / mean * loss
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return {name: value.clone() for name, value in net.state_dict().items()}
