import pytest
import torch

from t2a.metrics.diversity import diversity, mel_vectors


def test_it_is_the_mean_cosine_distance_of_all_pairs():
    vectors = torch.randn(5, 7)
    pairs = [1 - torch.cosine_similarity(vectors[i], vectors[j], dim=0) for i in range(5) for j in range(i)]
    assert diversity(vectors) == pytest.approx(torch.stack(pairs).mean().item(), abs=1e-6)


def test_copies_have_none_and_opposites_have_most():
    vector = torch.randn(1, 7)
    assert diversity(torch.cat([vector, 3 * vector])) == pytest.approx(0, abs=1e-6)
    assert diversity(torch.cat([vector, -vector])) == pytest.approx(2, abs=1e-6)
    with pytest.raises(ValueError, match="nothing to differ from"):
        diversity(vector)


def test_sounds_of_other_timbres_differ_more_than_takes_of_one():
    noise = 0.1 * torch.randn(4, 1, 16000)
    time = torch.arange(16000) / 16000
    tones = torch.stack([0.3 * (2 * torch.pi * f * time).sin() for f in (110, 3000)])[:, None]
    same = diversity(mel_vectors(noise, 16000))
    mixed = diversity(mel_vectors(torch.cat([noise[:2], tones]), 16000))
    assert same < 0.01 < 0.1 < mixed


def test_silent_takes_do_not_differ():
    silence = mel_vectors(torch.zeros(3, 2, 8000), 16000)
    assert silence.shape == (3, 128)
    assert diversity(silence) == 0
    noise = mel_vectors(0.1 * torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0)), 16000)
    assert diversity(torch.cat([silence[:1], noise])) == pytest.approx(1)
