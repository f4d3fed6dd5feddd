import io
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import ray
import soundfile
from ray import serve

from t2a.demo.services import free_ports
from t2a.errors import ConfigError, T2AError
from t2a.serve.app import TOKEN, Model, ServeConfig, build, encode
from t2a.serve.run import cluster, deployed
from tests.serve import stand_in

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray_here():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with cluster(4):
            yield


@pytest.fixture(scope="module")
def address(ray_here):
    """A server with two replicas and room for two waiting requests, which asks for a token."""
    (port,) = free_ports(1)
    config = ServeConfig(model="stand-in", name="stand-in@1", replicas=2, queue=2, cpus=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN, "secret")
        with deployed(config, "127.0.0.1", port, stand_in.StandIn):
            yield f"http://127.0.0.1:{port}"


def test_a_model_that_does_not_load_is_told_in_a_sentence_and_nothing_stays(ray_here, capfd):
    (port,) = free_ports(1)
    with (
        pytest.raises(T2AError, match=r"broken cannot be served: .*broken holds a codec"),
        deployed(ServeConfig(model="broken", cpus=0.5), "127.0.0.1", port, stand_in.StandIn),
    ):
        pass
    assert not ray.is_initialized() or not serve.status().applications
    assert "Traceback" not in "".join(capfd.readouterr())


def ask(address: str, **body) -> httpx.Response:
    headers = {"authorization": "Bearer secret"}
    return httpx.post(f"{address}/v1/audio/generations", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_clip_comes_back_over_http(address, form):
    answer = ask(address, prompt="a dog", seconds=1.5, seed=250, response_format=form)
    assert answer.status_code == 200, answer.text
    wave, rate = soundfile.read(io.BytesIO(answer.content))
    assert (rate, len(wave), answer.headers["content-type"]) == (22050, 33075, f"audio/{form}")
    np.testing.assert_allclose(wave, 0.25, atol=1e-4)
    assert answer.headers["x-t2a-model"] == "stand-in@1"


def test_ogg_has_a_rate_that_opus_knows_and_the_same_duration(address):
    answer = ask(address, prompt="a dog", seconds=1.5, response_format="ogg")
    wave, rate = soundfile.read(io.BytesIO(answer.content))
    assert (rate, len(wave)) == (48000, 72000)


def test_a_stream_sends_its_first_sound_before_the_last_is_made(address):
    body = {"prompt": "slow 2", "seconds": 1.5, "seed": 250, "stream": True}
    start, headers, data, first = time.monotonic(), {"authorization": "Bearer secret"}, b"", None
    with httpx.stream("POST", f"{address}/v1/audio/generations", json=body, headers=headers, timeout=60) as answer:
        for piece in answer.iter_bytes():
            first = first or time.monotonic() - start
            data += piece
    assert time.monotonic() - start - first > 1.5
    wave, rate = soundfile.read(io.BytesIO(data))
    assert (rate, len(wave), answer.headers["content-type"]) == (22050, 33075, "audio/wav")
    np.testing.assert_allclose(wave, 0.25, atol=1e-4)


def test_a_stream_that_the_model_refuses_is_422(address):
    answer = ask(address, prompt="refuse", stream=True)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "this model cannot: ask another one.")


def test_the_models_own_limit_is_known_before_it_is_asked(address):
    answer = ask(address, prompt="die", seconds=4.01)
    assert (answer.status_code, "4 s of this model" in answer.text) == (422, True)


def test_what_the_model_refuses_is_422_with_its_sentence(address):
    answer = ask(address, prompt="refuse")
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "this model cannot: ask another one.")


def test_the_token_of_the_builders_environment_is_asked_for(address):
    assert httpx.get(f"{address}/v1/models").status_code == 401
    assert httpx.post(f"{address}/v1/audio/generations", json={"prompt": "a"}).status_code == 401
    assert httpx.get(f"{address}/health").json() == {"status": "ok"}


def test_replicas_work_at_the_same_time_and_beyond_the_queue_it_is_503(address):
    """Two replicas, two may wait: of twelve at once about four are served, the others refused at once."""
    start = time.monotonic()
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: (ask(address, prompt="slow 3"), time.monotonic() - start), range(12)))
    served = [seconds for answer, seconds in answers if answer.status_code == 200]
    refused = [(answer, seconds) for answer, seconds in answers if answer.status_code == 503]
    assert 4 <= len(served) <= 6  # one may slip in while another is on its way to a replica
    assert len(served) + len(refused) == 12
    assert max(seconds for _, seconds in refused) < min(served)
    assert sorted(served)[1] < 5.5, "the two replicas took turns"
    assert all(answer.headers["retry-after"] for answer, _ in refused)


def test_a_replica_that_dies_is_replaced(address):
    assert [ask(address, prompt="die").status_code >= 500 for _ in range(2)] == [True, True]
    end = time.monotonic() + 60
    while ask(address, prompt="a").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.5)


def test_the_api_describes_itself(address):
    schema = httpx.get(f"{address}/openapi.json").json()
    assert "/v1/audio/generations" in schema["paths"]


def test_a_wrong_argument_of_the_builder_is_found_before_anything_starts():
    with pytest.raises(ConfigError, match="replicas") as error:
        build({"model": "m", "replicas": "0", "qeue": "3"})
    assert "did you mean queue?" in str(error.value)
    assert build({"model": "m", "replicas": "2", "cpus": "0.5"}) is not None


@pytest.mark.parametrize("form", ["wav", "flac", "ogg"])
def test_stereo_is_kept(form):
    wave = np.stack([np.full(16000, 0.5), np.full(16000, -0.5)]).astype(np.float32)
    assert soundfile.read(io.BytesIO(encode(wave, 16000, form)))[0].shape == (16000, 2)


def test_the_longest_clip_is_the_window_unless_the_server_is_told_another():
    replica = Model.func_or_class
    limits = [
        replica(ServeConfig(model="x", max_seconds=most), stand_in.StandIn).facts().max_seconds for most in (None, 9)
    ]
    assert limits == [4.0, 9.0]
