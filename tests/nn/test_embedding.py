import torch

from t2a.nn.embedding import NumberEmbedding


def test_numbers_that_differ_by_one_are_told_apart():
    torch.manual_seed(0)
    found = NumberEmbedding(32, 16)(torch.arange(0.0, 1000.0), torch.float32)
    distances = torch.cdist(found, found).fill_diagonal_(1.0)
    assert found.shape == (1000, 16)
    assert distances.min() > 1e-3
