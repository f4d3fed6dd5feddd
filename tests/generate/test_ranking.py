import numpy as np
import pytest

from t2a.conditions.clap import Clap
from t2a.conditions.encoders import EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.errors import ConfigError
from t2a.generate.judge import Judge
from t2a.generate.ranking import best_of, judge_of, tries
from t2a.generate.states import together
from t2a.models.clap import Clap as Model
from t2a.models.clap import ClapConfig
from tests.conditions import peers

RATE = 8000


class Singer:
    """A generator whose clips are noise of their prompt and seed alone."""

    sample_rate, max_seconds = RATE, 10.0

    def __init__(self):
        self.batches: list[list[int]] = []

    def generate(self, prompts, seconds, *, seeds, progress=None, level=0.3):
        self.batches.append(list(seeds))
        if progress is not None:
            for step in (1, 2):
                progress(step, 2)
        length = round(seconds * RATE)
        draws = [np.random.default_rng([seed, len(prompt)]) for prompt, seed in zip(prompts, seeds, strict=True)]
        return [(level * draw.standard_normal((1, length))).astype(np.float32) for draw in draws]


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Clap:
    return Clap(str(peers.clap(tmp_path_factory.mktemp("clap"))))


def test_the_clip_with_the_highest_score_is_kept_whatever_the_batch(judge):
    prompts = ["a dog barks", "bell", "rain falls"]
    together = best_of(Singer(), judge, prompts, 0.5, seeds=[1, 2, 3], count=4)
    for prompt, seed, found in zip(prompts, [1, 2, 3], together, strict=True):
        [alone] = best_of(Singer(), judge, [prompt], 0.5, seeds=[seed], count=4)
        assert alone.seed == found.seed
        np.testing.assert_array_equal(alone.clip, found.clip)
        assert len(found.scores) == 4
        assert tries(seed, 4)[int(np.argmax(found.scores))] == found.seed
        [again] = Singer().generate([prompt], 0.5, seeds=[found.seed])
        np.testing.assert_array_equal(again, found.clip)
    assert len({row.seed // 2**20 for row in together}) > 1, "the judge always prefers one try: it is deaf"


def test_more_tries_never_fit_worse_and_the_first_is_the_seed_itself(judge):
    best = [max(best_of(Singer(), judge, ["bell"], 0.5, seeds=[7], count=n)[0].scores) for n in (1, 2, 4)]
    assert best == sorted(best)
    generator = Singer()
    assert best_of(generator, judge, ["bell", "rain"], 0.5, seeds=[7, 8], count=1)[0].seed == 7
    assert best_of(generator, None, ["bell", "rain"], 0.5, seeds=[7, 8], count=1)[1].seed == 8
    assert generator.batches == [[7, 8]] * 2


def test_the_tries_of_neighbouring_seeds_never_meet():
    assert len({seed for first in range(100) for seed in tries(first, 8)}) == 800
    assert all(0 <= seed < 2**63 for seed in tries(2**63 - 1, 3))


def test_settings_and_progress_are_passed_on(judge):
    told = []
    [quiet] = best_of(
        Singer(), judge, ["bell"], 0.5, seeds=[1], count=3, level=0.01, progress=lambda *count: told.append(count)
    )
    assert np.abs(quiet.clip).max() < 0.1
    assert told == [(step, 6) for step in range(1, 7)]


def test_a_score_that_is_no_number_never_wins():
    class Odd:
        def scores(self, captions, sounds):
            self.count = getattr(self, "count", 0) + 1
            return [float("nan") if self.count == 1 else 0.1 * self.count]

    assert best_of(Singer(), Odd(), ["bell"], 0.1, seeds=[1], count=3)[0].seed == tries(1, 3)[2]


def test_what_cannot_be_ranked_is_refused_before_any_work(judge):
    generator = Singer()
    with pytest.raises(ConfigError, match="best of 0"):
        best_of(generator, judge, ["bell"], 0.5, seeds=[1], count=0)
    with pytest.raises(ConfigError, match=r"best of 2 .* name a judge"):
        best_of(generator, None, ["bell"], 0.5, seeds=[1], count=2)
    with pytest.raises(ConfigError, match="prompt is empty"):
        best_of(generator, judge, ["bell", " "], 0.5, seeds=[1, 2], count=2)
    assert not generator.batches


def test_a_trained_clap_and_one_of_transformers_may_judge(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert isinstance(judge_of(str(peers.clap(tmp_path / "theirs"))), Clap)
    Model(ClapConfig()).save_pretrained(tmp_path / "ours")
    EncodersFile(encoders={"text": MiniLMConfig()}).write(tmp_path / "ours")
    ours = judge_of(str(tmp_path / "ours"))
    assert isinstance(ours, Judge)
    clips = Singer().generate(["bell", "rain"], 1.0, seeds=[1, 2])
    scores = ours.scores(["bell", "rain"], together(clips, RATE))
    np.testing.assert_allclose(scores, np.diag(ours.similarity(clips, RATE, ["bell", "rain"])), atol=1e-5)
    with pytest.raises(ConfigError, match="Cannot load the encoder no-such/clap"):
        judge_of("no-such/clap")
