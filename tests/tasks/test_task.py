from types import SimpleNamespace

import pytest
import torch
from torch import nn

from t2a.tasks.task import frozen, partitioned, raw


def test_raw_looks_behind_an_engine():
    module = nn.Linear(2, 2)
    assert raw(module) is module
    assert raw(SimpleNamespace(module=module, __call__=module)) is module


def test_a_frozen_network_lets_gradients_through_but_collects_none():
    critic, x = nn.Linear(2, 1), torch.randn(3, 2, requires_grad=True)
    critic.bias.requires_grad_(False)
    with frozen(critic) as held:
        held(x).sum().backward()
    assert critic.weight.grad is None
    assert x.grad.abs().sum() > 0
    assert critic.weight.requires_grad
    assert not critic.bias.requires_grad


def test_it_thaws_after_an_error():
    critic = nn.Linear(2, 1)
    with pytest.raises(RuntimeError), frozen(critic):
        raise RuntimeError
    assert critic.weight.requires_grad


def test_an_engine_is_frozen_by_its_module():
    module = nn.Linear(2, 1)
    engine = SimpleNamespace(module=module)
    with frozen(engine) as held:
        assert held is module
    assert not partitioned(engine)
    module.weight.ds_id = 0
    assert partitioned(engine)
