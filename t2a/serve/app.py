"""The Ray Serve application: one API deployment in front of the model's replicas.

`serve run t2a.serve.app:build model=s3://... replicas=2`, or `import_path: t2a.serve.app:build` in a Serve config.
A replica makes one clip at a time: rows of one batch would share their matrix products, whose last bits depend on the
batch, and a clip must not.
"""

import io
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import soundfile
from fastapi import FastAPI
from pydantic import Field
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from t2a.audio.io import encode_flac, encode_wav, pcm16, wav_header
from t2a.audio.transform import resample
from t2a.config import Config, validate
from t2a.errors import ConfigError
from t2a.serve.api import Facts, Generation, OverloadError, create, digest_of

TOKEN = "T2A_API_TOKEN"
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


class ServeConfig(Config):
    """What is served and how.

    model: a folder, s3://... or models:/name@alias. name: what clients call it; by default `model`.
    max_seconds: the longest clip to be asked for; by default the model's window.
    queue: requests that may wait before further ones get a 503. cpus: taken by each replica.
    """

    model: str
    name: str | None = None
    replicas: int = Field(1, ge=1)
    queue: int = Field(16, ge=1)
    cpus: float = Field(1.0, gt=0)
    gpu: bool = False
    max_seconds: float | None = Field(None, gt=0)

    @property
    def title(self) -> str:
        return self.name or self.model


@serve.deployment(max_ongoing_requests=1, max_constructor_retry_count=1)
class Model:
    """A replica: one loaded generator."""

    def __init__(self, config: ServeConfig, load: Callable[..., Any]):
        self.name, self.max_seconds = config.title, config.max_seconds
        self.generator = load(config.model, device="cuda" if config.gpu else "cpu")

    def facts(self) -> Facts:
        longest = self.max_seconds or float(self.generator.max_seconds)
        made = self.generator
        return Facts(name=self.name, sample_rate=made.sample_rate, max_seconds=longest, settings=made.settings)

    def generate(self, request: Generation) -> bytes:
        (wave,) = self.generator.generate([request.prompt], request.seconds, seeds=[request.seed], **asked(request))
        return encode(wave, self.generator.sample_rate, request.response_format)

    def stream(self, request: Generation) -> Iterator[bytes]:
        rate = self.generator.sample_rate
        waves = self.generator.stream(request.prompt, request.seconds, seed=request.seed, **asked(request))
        for index, wave in enumerate(waves):
            samples = round(request.seconds * rate)
            yield (b"" if index else wav_header(samples, wave.shape[0], rate)) + pcm16(wave)


class Replicas:
    """The model's replicas as the API's backend."""

    def __init__(self, handle: DeploymentHandle):
        self.handle = handle

    async def generate(self, request: Generation) -> bytes:
        with told():
            return await self.handle.generate.remote(request)

    async def stream(self, request: Generation) -> AsyncIterator[bytes]:
        with told():
            async for piece in self.handle.options(stream=True).stream.remote(request):
                yield piece


@contextmanager
def told() -> Iterator[None]:
    """Raise what the API knows to answer in the place of what Ray makes of it."""
    try:
        yield
    except BackPressureError as error:
        raise OverloadError from error
    except RayTaskError as error:
        if isinstance(error.cause, ConfigError):
            raise ConfigError(str(error.cause)) from error
        raise


def asked(request: Generation) -> dict[str, Any]:
    """What a request asks for besides the clip itself, by the names of a generator."""
    return {"guidance": request.guidance, **request.settings}


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
@serve.ingress()
class Api:
    """The ingress: validates, asks the replicas, answers."""

    async def __init__(self, model: DeploymentHandle, token_digest: str | None):
        self.replicas, self.token_digest = Replicas(model), token_digest
        self.facts: Facts = await model.facts.remote()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create(self.replicas, self.facts, self.token_digest)


def build(args: Mapping[str, Any]) -> Application:
    """Make the application out of `key=value` arguments; see `ServeConfig`. Raises `ConfigError`."""
    return application(validate(ServeConfig, dict(args), "the arguments of t2a.serve.app:build"))


def application(config: ServeConfig, load: Callable[..., Any] | None = None) -> Application:
    """Make the application; `load(where, device=...)` gives the generator. The token is read from the environment."""
    if load is None:
        from t2a.generate import load
    actor = {"num_cpus": config.cpus, "num_gpus": int(config.gpu)}
    model = Model.options(num_replicas=config.replicas, max_queued_requests=config.queue, ray_actor_options=actor)
    return Api.bind(model.bind(config, load), digest_of(os.environ.get(TOKEN)))


def encode(wave: np.ndarray, rate: int, form: str) -> bytes:
    """Return `wave` [C, T] as the bytes of a wav, flac or ogg (Opus) file."""
    if form != "ogg":
        return {"wav": encode_wav, "flac": encode_flac}[form](wave, rate)
    if rate not in OPUS_RATES:
        wave, rate = resample(wave, rate, OPUS_RATES[-1]), OPUS_RATES[-1]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1).T, rate, format="OGG", subtype="OPUS")
    return buffer.getvalue()
