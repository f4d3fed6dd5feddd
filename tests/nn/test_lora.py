import pytest
import torch
from torch import Tensor, nn

from t2a.errors import ConfigError
from t2a.nn.lora import LoraConfig, LoraLinear, adapt, merged


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"inward": nn.Linear(6, 9), "other": nn.Linear(9, 6)}) for _ in "ab")
        self.heads = nn.Linear(6, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block["other"](torch.tanh(block["inward"](x)))
        return self.heads(x)


CONFIG = LoraConfig(rank=3, alpha=6.0, targets=("inward", "heads"))


def adapted(config: LoraConfig = CONFIG) -> Net:
    """A net whose changes are not zero any more."""
    torch.manual_seed(0)
    net = Net()
    adapt(net, config)
    for name, parameter in net.named_parameters():
        if name.endswith("lora_up"):
            nn.init.normal_(parameter)
    return net


def test_a_fresh_change_changes_nothing():
    torch.manual_seed(0)
    net, x = Net(), torch.randn(5, 6)
    expected = net(x)
    adapt(net, LoraConfig(dropout=0.5, targets=("inward", "heads")))
    assert torch.equal(net(x), expected)


def test_the_merged_weights_make_a_plain_net_of_the_same_outputs():
    net, x = adapted().eval(), torch.randn(5, 6)
    plain = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    plain.load_state_dict(merged(net.state_dict()))
    assert (plain(x) - net(x)).abs().max() < 1e-5
    assert (plain.heads.weight - net.heads.weight).abs().max() > 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_change_has_its_rank_and_its_strength():
    net = adapted()
    change = merged(net.state_dict())["heads.weight"] - net.heads.weight
    assert torch.linalg.matrix_rank(change) == 3
    torch.testing.assert_close(change, 6.0 / 3 * net.heads.lora_up @ net.heads.lora_down)


def test_targets_alone_are_adapted_and_all_else_is_frozen():
    net = adapted()
    assert [name for name, layer in net.named_modules() if isinstance(layer, LoraLinear)] == [
        "blocks.0.inward", "blocks.1.inward", "heads"
    ]  # fmt: skip
    trained = {name.rpartition(".")[2] for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {"lora_down", "lora_up"}
    assert set(merged(net.state_dict())) == set(Net().state_dict())
    second = adapted(LoraConfig(targets=("1.inward",)))
    assert sum(isinstance(layer, LoraLinear) for layer in second.modules()) == 1


def test_a_step_moves_the_changes_and_not_the_base():
    net = adapted()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    net(torch.randn(5, 6)).square().mean().backward()
    optimizer.step()
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if name.endswith(("lora_down", "lora_up"))}


def test_dropout_is_of_the_change_and_of_training_alone():
    net, x = adapted(LoraConfig(targets=("inward",), dropout=0.9)), torch.randn(50, 6)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_a_target_that_is_not_there_is_told_with_those_that_are():
    net = Net()
    with pytest.raises(ConfigError, match=r"no linear layer 'ward' \(there are: heads, inward, other\)"):
        adapt(net, LoraConfig(targets=("inward", "ward")))
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_plain_state_dict_comes_back_as_it_is():
    state = Net().state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in merged(state).items())
    assert merged(state).keys() == state.keys()
