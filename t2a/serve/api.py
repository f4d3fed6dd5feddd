"""The HTTP API, apart from what runs it: `create` gives a FastAPI application over any backend."""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal, Protocol, Self

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model, field_validator, model_validator
from starlette.exceptions import HTTPException as StarletteHTTPException

from t2a import __version__
from t2a.errors import ConfigError
from t2a.generate.settings import Settings

TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}
DEFAULT_SECONDS = 5.0
LONGEST_PROMPT = 4000
RETRY_SECONDS = "5"
LARGEST_SHOWN = 1e15  # number in an error


class Facts(BaseModel):
    """What a loaded model says about itself."""

    name: str
    sample_rate: int
    max_seconds: float
    settings: type[Settings]


class Body(BaseModel):
    """What POST /v1/audio/generations takes of every model; `input` is another name for `prompt`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(validation_alias=AliasChoices("prompt", "input"), description="What to hear.")
    model: str | None = Field(None, description="If given, it has to be the model that is served.")
    seconds: float | None = Field(None, gt=0, description="Duration; by default 5, or less if the model's limit is.")
    guidance: float = Field(3.0, ge=0, le=100, description="Classifier-free guidance; 1 is off.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="The same seed gives the same clip; by default random.")
    response_format: Literal["wav", "flac", "ogg"] = "wav"
    stream: bool = Field(False, description="Send a wav piece by piece while it is made.")

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.stream and self.response_format != "wav":
            raise ValueError(f"a stream is a wav, not {self.response_format}: leave response_format or stream out")
        return self

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty: say what you want to hear")
        if len(prompt) > LONGEST_PROMPT:
            raise ValueError(f"the prompt has {len(prompt)} characters: {LONGEST_PROMPT} are the most")
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise ValueError("the prompt holds half a character (a lone surrogate): send whole ones")
        return prompt


class Generation(Body):
    """A request as the model gets it: its own settings apart."""

    settings: dict[str, Any] = Field({}, description="Of this kind of model; those that were sent.")


def body_of(settings: type[Settings]) -> type[Body]:
    """Make the body of requests to one kind of model: its settings stand beside what all take."""
    return create_model("Generation", __base__=(settings, Body), __doc__=Body.__doc__)


class OverloadError(Exception):
    """The backend has as many requests waiting as it takes."""


class Backend(Protocol):
    """Something that makes clips: the model's replicas in production."""

    async def generate(self, request: Generation) -> bytes:
        """Return the encoded clip of a request whose seed and seconds are set.

        Raises `OverloadError`, or `ConfigError` for a request that the model cannot meet.
        """
        ...

    def stream(self, request: Generation) -> AsyncIterator[bytes]:
        """Yield a wav in pieces, for a request as in `generate`; raises before the first one what `generate` raises."""
        ...


def digest_of(token: str | None) -> str | None:
    """The SHA-256 of a token: what is kept and compared, so that no object of the cluster holds the token."""
    return hashlib.sha256(token.encode()).hexdigest() if token else None


def create(backend: Backend, facts: Facts, token_digest: str | None = None) -> FastAPI:
    """Make the application; with a `token_digest`, everything under /v1 asks for the token."""
    app = FastAPI(title="t2a", version=__version__, description=f"Text to audio with {facts.name}.")
    body = body_of(facts.settings)
    app.add_exception_handler(RequestValidationError, _unprocessable(list(body.model_fields)))
    app.add_exception_handler(StarletteHTTPException, _refused)
    guarded = [Depends(_guard(token_digest))]

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> dict[str, Any]:
        settings = facts.settings.model_json_schema()["properties"]
        about = {"sample_rate": facts.sample_rate, "max_seconds": facts.max_seconds, "settings": settings}
        return {"object": "list", "data": [{"id": facts.name, "object": "model", **about}]}

    @app.post(
        "/v1/audio/generations",
        dependencies=guarded,
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in TYPES.values()}, "description": "The clip."}},
    )
    async def generations(sent: body) -> Response:  # pyrefly: ignore[not-a-type]
        request = complete(sent, facts)
        pieces = backend.stream(request) if request.stream else None
        try:
            data = await (backend.generate(request) if pieces is None else anext(pieces))
        except OverloadError as error:
            told = "too many requests are waiting: try again in some seconds"
            raise HTTPException(503, told, {"retry-after": RETRY_SECONDS}) from error
        except ConfigError as error:
            raise HTTPException(422, str(error)) from error
        headers = {"x-t2a-seed": str(request.seed), "x-t2a-model": facts.name, "x-t2a-seconds": f"{request.seconds:g}"}
        kind = TYPES[request.response_format]
        if pieces is None:
            return Response(data, media_type=kind, headers=headers)
        return StreamingResponse(_joined(data, pieces), media_type=kind, headers=headers)

    return app


def complete(request: Body, facts: Facts) -> Generation:
    """Fill in seed and seconds, set the model's settings apart; 422 for what this model cannot do."""
    if request.model not in (None, facts.name):
        raise HTTPException(422, f"model: {request.model} is not served here, {facts.name} is")
    longest = facts.max_seconds
    seconds = min(DEFAULT_SECONDS, longest) if request.seconds is None else request.seconds
    if seconds > longest:
        raise HTTPException(422, f"seconds: {seconds:g} s is longer than the {longest:g} s of this model")
    if round(seconds * facts.sample_rate) == 0:
        raise HTTPException(422, f"seconds: {seconds:g} s is less than one sample at {facts.sample_rate} Hz")
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    common = request.model_dump(include=set(Body.model_fields)) | {"seconds": seconds, "seed": seed}
    settings = request.model_dump(include=set(facts.settings.model_fields), exclude_unset=True)
    return Generation(**common, settings=settings)


def sentences(errors: Sequence[Any], known: Sequence[str]) -> str:
    """Tell all of pydantic's errors in one line, each with the field it is about."""
    told = []
    for error in errors:
        if error["type"] == "json_invalid":
            return f"the body is not valid JSON: {error['ctx']['error']}"
        field = ".".join(str(part) for part in error["loc"] if part != "body")
        text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
        if error["type"] == "extra_forbidden":
            text = f"unknown field; known are {', '.join(known)}"
        value = error.get("input")
        shown = f", not {value!r}" if isinstance(value, (int, float)) and abs(value) < LARGEST_SHOWN else ""
        told.append(f"{field}: {text}{shown}" if field else f"the body: {text}")
    return "; ".join(told)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _guard(token_digest: str | None) -> Any:
    scheme = HTTPBearer(auto_error=False, description="The value of T2A_API_TOKEN where the server was started.")

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> None:
        if token_digest is None:
            return
        if given is None or not hmac.compare_digest(digest_of(given.credentials) or "", token_digest):
            told = "this server asks for its token: send the header `Authorization: Bearer TOKEN`"
            raise HTTPException(401, told, {"www-authenticate": "Bearer"})

    return check


def _unprocessable(known: Sequence[str]) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _answer(422, sentences(error.errors(), known))

    return answer


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return _answer(error.status_code, str(error.detail), error.headers)


def _answer(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status, headers=headers)
