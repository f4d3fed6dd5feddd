import asyncio

import httpx
import pytest

from t2a.errors import ConfigError
from t2a.generate.settings import DiffusionSettings, LMSettings
from t2a.serve.api import Facts, Generation, OverloadError, create, digest_of

FACTS = Facts(name="models:/lm@champion", sample_rate=16000, max_seconds=4.0, settings=LMSettings)
PATH = "/v1/audio/generations"


class Echo:
    """Answers with what it was asked for."""

    def __init__(self, error: Exception | None = None):
        self.error = error
        self.requests: list[Generation] = []

    async def generate(self, request: Generation) -> bytes:
        if self.error:
            raise self.error
        self.requests.append(request)
        return request.prompt.encode()

    async def stream(self, request: Generation):
        for letter in (await self.generate(request)).decode():
            yield letter.encode()


HALF = rb'{"prompt": "a dog \ud800"}'  # of a character


def call(backend=None, method="POST", path=PATH, token=None, headers=None, facts=FACTS, **body) -> httpx.Response:
    app = create(backend or Echo(), facts, digest_of(token))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t2a") as client:
            return await client.request(method, path, json=body or None, headers=headers)

    return asyncio.run(send())


def message(response: httpx.Response) -> str:
    return response.json()["error"]["message"]


@pytest.mark.parametrize("name", ["prompt", "input"])
def test_a_request_reaches_the_model_as_it_was_sent(name):
    echo = Echo()
    common, settings = {"seconds": 1.5, "guidance": 2.0, "seed": 7}, {"temperature": 0.5, "top_k": 10, "top_p": 0.9}
    answer = call(echo, **{name: "a dog"}, **common, **settings)
    assert (answer.status_code, answer.content) == (200, b"a dog")
    assert {key: getattr(echo.requests[0], key) for key in common} == common
    assert echo.requests[0].settings == settings
    told = {key: answer.headers[f"x-t2a-{key}"] for key in ("seed", "seconds", "model")}
    assert told == {"seed": "7", "seconds": "1.5", "model": "models:/lm@champion"}


def test_every_kind_of_model_takes_its_own_settings_and_no_others():
    echo, diffusion = Echo(), FACTS.model_copy(update={"settings": DiffusionSettings})
    assert call(echo, facts=diffusion, prompt="a", steps=10, sampler="ddim").status_code == 200
    assert echo.requests[0].settings == {"steps": 10, "sampler": "ddim"}
    refused = call(echo, facts=diffusion, prompt="a", top_k=5)
    assert (refused.status_code, "response_format, stream, sampler, steps" in message(refused)) == (422, True)
    assert "top_k: unknown field" in message(refused)
    assert "steps: should be greater than or equal to 1" in message(call(facts=diffusion, prompt="a", steps=0))
    (model,) = call(None, "GET", "/v1/models", facts=diffusion).json()["data"]
    assert model["settings"]["steps"]["default"] == 25
    app = create(echo, diffusion)
    assert {"prompt", "steps"} < set(app.openapi()["components"]["schemas"]["Generation"]["properties"])


@pytest.mark.parametrize("form", ["wav", "flac", "ogg"])
def test_the_content_type_is_that_of_the_format(form):
    assert call(prompt="a", response_format=form).headers["content-type"] == f"audio/{form}"


def test_a_stream_is_the_same_answer_in_pieces():
    answer = call(prompt="a dog", stream=True, seed=3)
    assert (answer.content, answer.headers["content-type"], answer.headers["x-t2a-seed"]) == (
        b"a dog",
        "audio/wav",
        "3",
    )


def test_a_stream_that_is_refused_is_no_answer_of_200():
    assert call(Echo(ConfigError("not this one.")), prompt="a", stream=True).status_code == 422
    assert call(Echo(OverloadError()), prompt="a", stream=True).status_code == 503


def test_a_stream_of_another_format_is_refused():
    answer = call(prompt="a", stream=True, response_format="ogg")
    assert (answer.status_code, "a stream is a wav, not ogg" in message(answer)) == (422, True)


def test_without_a_seed_every_answer_has_another_one_and_says_it():
    echo = Echo()
    seeds = {call(echo, prompt="a").headers["x-t2a-seed"] for _ in range(4)}
    assert len(seeds) == 4
    assert seeds == {str(request.seed) for request in echo.requests}


def test_the_default_duration_fits_the_model():
    assert call(prompt="a").headers["x-t2a-seconds"] == "4"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": "  "}, "prompt: the prompt is empty: say what you want to hear"),
        ({"prompt": "x" * 4001}, "4001 characters"),
        ({"seed": 1}, "prompt: Field required"),
        ({"prompt": "a", "seconds": 4.5}, "seconds: 4.5 s is longer than the 4 s of this model"),
        ({"prompt": "a", "seconds": 1e-9}, "less than one sample"),
        ({"prompt": "a", "seconds": 0}, "seconds: should be greater than 0, not 0"),
        ({"prompt": "a", "seed": -1}, "seed: should be greater than or equal to 0, not -1"),
        ({"prompt": "a", "seed": 10**400}, "seed: "),
        ({"prompt": "a", "seconds": 10**400}, "seconds: "),
        ({"prompt": "a", "response_format": "mp3"}, "response_format: should be 'wav', 'flac' or 'ogg'"),
        ({"prompt": "a", "guidence": 3}, "guidence: unknown field; known are prompt,"),
        ({"prompt": "a", "model": "other"}, "other is not served here, models:/lm@champion is"),
        ({"prompt": "a", "top_p": 2, "top_k": -1}, "; "),
    ],
)
def test_what_cannot_be_met_gets_a_sentence_and_never_reaches_the_model(body, words):
    echo = Echo()
    answer = call(echo, **body)
    assert answer.status_code == 422
    assert words in message(answer)
    assert not echo.requests


@pytest.mark.parametrize("content", [b"{not json", b'{"prompt": "a", "guidance": NaN}', HALF, b"[1]", b""])
def test_a_broken_body_gets_a_sentence(content):
    app = create(Echo(), FACTS)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t2a") as client:
            return await client.post(PATH, content=content, headers={"content-type": "application/json"})

    answer = asyncio.run(send())
    assert answer.status_code == 422
    assert message(answer)


def test_overload_is_503_with_the_time_to_come_back():
    answer = call(Echo(OverloadError()), prompt="a")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "try again" in message(answer)


def test_what_only_the_model_finds_wrong_is_422_with_its_sentence():
    answer = call(Echo(ConfigError("top_k is 9; there are 4 codes.")), prompt="a")
    assert (answer.status_code, message(answer)) == (422, "top_k is 9; there are 4 codes.")


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Basic c2VjcmV0", "Bearer", "Bearer " + str(digest_of("secret"))]
)
@pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("GET", "/v1/models")])
def test_with_a_token_nothing_is_done_without_it(header, method, path):
    echo = Echo()
    answer = call(echo, method, path, "secret", {"authorization": header} if header else None, prompt="a")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in message(answer)
    assert not echo.requests


def test_with_its_token_the_server_answers():
    assert call(token="secret", headers={"authorization": "Bearer secret"}, prompt="a").status_code == 200


def test_health_asks_for_no_token():
    assert call(None, "GET", "/health", "secret").json() == {"status": "ok"}


def test_models_says_what_is_served():
    (model,) = call(None, "GET", "/v1/models").json()["data"]
    assert (model["id"], model["sample_rate"], model["max_seconds"]) == ("models:/lm@champion", 16000, 4.0)


def test_an_unknown_path_is_told_in_the_same_shape():
    assert call(None, "GET", "/v2").json()["error"]["code"] == 404
