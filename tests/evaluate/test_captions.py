"""What captions are worth to a model, row by row."""

import numpy as np
import torch

from t2a.evaluate.captions import compared, losses


class Told:
    """A task whose loss is 1 with a row's own caption, 2 with another and 3 without."""

    def evaluate(self, nets, batch):
        each = {"loss": 1.0, "loss_shuffled": 2.0, "loss_null": 3.0}
        return {name: torch.full((len(batch["captions"]),), value) for name, value in each.items()}


def test_a_row_in_whose_batch_no_other_caption_is_tells_nothing_of_another():
    batches = [{"captions": captions, "weight": torch.ones(2)} for captions in (["rain", "rain"], ["rain", "wind"])]
    found = losses(Told(), {}, batches, "loss")
    assert np.isnan(found["another caption"]).tolist() == [True, True, False, False]
    figures = compared("loss", found)
    assert figures["gain/over shuffled captions"][::3] == (1, 2)
    assert figures["loss/another caption"][::3] == (2, 2)
    assert figures["gain/over no caption"][::3] == (2, 4)
    alone = compared("loss", losses(Told(), {}, batches[:1], "loss"))
    assert set(alone) == {"loss/its caption", "loss/no caption", "gain/over no caption"}


def test_a_model_of_broken_weights_is_no_better_for_it():
    nan = np.full(3, np.nan)
    figures = compared("loss", {"its caption": nan, "another caption": nan, "no caption": nan})
    assert all(np.isnan(figure.mean) for figure in figures.values())
