import torch
from torch import distributed

from t2a.nn import ranks


def test_alone_a_sum_is_the_value():
    assert ranks.world() == 1
    assert ranks.total(torch.tensor([2.0])).item() == 2
    assert ranks.mean(torch.tensor([2.0])).item() == 2


def test_rows_are_drawn_without_repetition_until_there_are_no_more():
    rows = torch.arange(10.0)[:, None]
    generator = torch.Generator().manual_seed(0)
    assert sorted(ranks.pick(rows, 10, generator).flatten().tolist()) == list(range(10))
    assert sorted(ranks.pick(rows, 20, generator).flatten().tolist()) == sorted([*range(10)] * 2)


def _draw(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    rows = torch.arange(0.0, 4)[:, None] if rank == 0 else torch.arange(4.0, 10)[:, None]
    drawn = ranks.pick(rows, 7, torch.Generator().manual_seed(3))
    torch.save((drawn, ranks.mean(torch.tensor(float(rank)))), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_draw_what_one_with_all_rows_would(tmp_path):
    torch.multiprocessing.spawn(_draw, (str(tmp_path),), nprocs=2)
    alone = ranks.pick(torch.arange(10.0)[:, None], 7, torch.Generator().manual_seed(3))
    for rank in range(2):
        drawn, mean = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(drawn, alone)
        assert mean.item() == 0.5
