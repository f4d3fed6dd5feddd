from t2a.demo.sections import SOUNDS, autoencoder, by_system, codec, denoiser, language_model, listening
from t2a.report.page import Measure
from tests.demo.conftest import figure


def test_models_stand_side_by_side_under_each_prompt(facts) -> None:
    _, row = listening(facts).html().split("<h3>A dog &amp; a cat.</h3>", 1)
    both = row.split("</div>", 1)[0]
    assert both.count("<audio") == 2
    assert both.index("<h3>language model</h3>") < both.index("<h3>diffusion model</h3>")


def test_figures_are_sorted_by_system_or_one_is_taken() -> None:
    found = {"mel/codec": figure(1), "snr/codec": figure(2), "mel/mu-law": figure(3)}
    assert {name: set(values) for name, values in by_system(found).items()} == {
        "codec": {"mel", "snr"}, "mu-law": {"mel"}
    }  # fmt: skip
    assert {name: measure.mean for name, measure in by_system(found, "mel").items()} == {"codec": 1, "mu-law": 3}


def test_a_figure_keeps_its_interval_and_its_count() -> None:
    assert by_system({"mel/codec": figure(1)}, "mel") == {"codec": Measure(1, 0.9, 1.1, 9)}
    assert by_system({"mel/codec": figure(1)}, "snr") == {}


def test_a_codec_is_compared_at_its_own_rate_alone(facts) -> None:
    facts["evaluate"]["codec"] |= {"mel_distance/Opus, 6 kbit/s": figure(1.0), "bit_rate/Opus, 6 kbit/s": figure(6.0)}
    table = codec(facts).blocks[0]
    assert set(table.values) == {"codec", "untrained", "mu-law"}
    assert "Opus" not in table.html()


def test_spectrograms_and_what_is_heard_of_them_stand_apart(facts) -> None:
    facts["generate"]["reconstructed"] *= SOUNDS + 2
    spectrograms, vocoder, heard, *clips = autoencoder(facts).blocks
    assert set(spectrograms.values) == {"autoencoder"}
    assert set(vocoder.values) == {"vocoder", "untrained", "griffin-lim"}
    assert set(heard.values) == {"original through vocos", "autoencoder through vocos"}
    assert len(clips) == SOUNDS
    assert [block.title for block in clips[0].cards] == ["original", "vocoder", "autoencoder and vocoder"]


def test_the_worth_of_a_caption_is_told_beside_the_losses(facts) -> None:
    for section, metric, gain in ((language_model(facts), "nats a code", 0.321), (denoiser(facts), "loss", 0.076)):
        losses, gains = section.blocks
        assert {row[metric].mean for row in losses.values.values()} == {2.5}
        assert losses.better == {metric: "lower"}
        assert gains.values["over shuffled captions"]["gain"].mean == gain
