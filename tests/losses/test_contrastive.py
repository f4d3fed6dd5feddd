import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional

from t2a.losses.contrastive import contrastive


def embeddings(rows: int = 6) -> tuple[Tensor, Tensor]:
    draw = partial(torch.randn, rows, 4, generator=torch.Generator().manual_seed(0))
    return functional.normalize(draw(), dim=-1), functional.normalize(draw() + 1, dim=-1)


def test_it_is_clips_loss_where_all_captions_differ():
    audio, text = embeddings()
    logits, order = 5 * audio @ text.T, torch.arange(6)
    expected = (functional.cross_entropy(logits, order) + functional.cross_entropy(logits.T, order)) / 2
    torch.testing.assert_close(contrastive(audio, text, torch.tensor(5.0), order, order[:, None]), expected)


def test_rows_of_one_caption_are_equally_right():
    audio = torch.eye(2)[[0, 0, 1, 1]]
    labels = torch.tensor([7, 7, 9, 9])
    perfect = contrastive(audio, audio, torch.tensor(50.0), labels, labels[:, None])
    assert perfect.item() == pytest.approx(math.log(2))
    apart = contrastive(audio, audio, torch.tensor(50.0), torch.arange(4), torch.arange(4)[:, None])
    torch.testing.assert_close(apart, perfect)  # the best that can be done; equal labels ask for no more
    audio.requires_grad_()
    contrastive(audio, audio.detach(), torch.tensor(5.0), labels, labels[:, None]).backward()
    pulls = audio.grad
    torch.testing.assert_close(pulls[0], pulls[1])


def test_a_caption_of_another_row_that_fits_a_sound_is_right_for_it_too():
    audio, text = embeddings(3)
    labels, said = torch.tensor([1, 2, 3]), torch.tensor([[1, 0, 0], [2, 0, 0], [3, 1, 2]])
    logits = 5 * audio @ text.T
    sounds = torch.tensor([[1, 0, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]])  # the third sound is all of it
    captions = torch.tensor([[1 / 2, 0, 1 / 2], [0, 1 / 2, 1 / 2], [0, 0, 1]])
    expected = -(sounds * logits.log_softmax(1)).sum(1).mean() - (captions * logits.T.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(contrastive(audio, text, torch.tensor(5.0), labels, said), expected / 2)


LABELS = torch.tensor([0, 1, 2, 0, 3, 4])
SAID = torch.tensor([[0, 3], [1, -1], [2, -1], [0, 4], [3, -1], [4, 1]])


def _rank(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine = slice(3 * rank, 3 * rank + 3)
    audio, text = (rows[mine].clone().requires_grad_() for rows in embeddings())
    loss = contrastive(audio, text, torch.tensor(5.0), LABELS[mine], SAID[mine])
    loss.backward()
    torch.save((loss.detach(), audio.grad, text.grad), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path):
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    audio, text = (rows.clone().requires_grad_() for rows in embeddings())
    whole = contrastive(audio, text, torch.tensor(5.0), LABELS, SAID)
    whole.backward()
    torch.testing.assert_close(torch.stack([part[0] for part in parts]).mean(), whole.detach())
    # The engine averages over the processes.
    torch.testing.assert_close(torch.cat([part[1] for part in parts]) / 2, audio.grad)
    torch.testing.assert_close(torch.cat([part[2] for part in parts]) / 2, text.grad)
