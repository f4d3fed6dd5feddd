"""The recipe of a training run: everything that `t2a train` needs to know, in one frozen value."""

import difflib
from typing import Annotated, Any

from pydantic import Field, model_validator

from t2a import storage
from t2a.config import Config
from t2a.data.rows import DataConfig
from t2a.nn.lora import LoraConfig
from t2a.tasks.autoencoder import AutoencoderTaskConfig
from t2a.tasks.clap import ClapTaskConfig
from t2a.tasks.codec import CodecTaskConfig
from t2a.tasks.denoiser import DenoiserTaskConfig
from t2a.tasks.entropy import EntropyTaskConfig
from t2a.tasks.lm import LMTaskConfig
from t2a.tasks.ssast import SsastTaskConfig
from t2a.tasks.vocoder import VocoderTaskConfig
from t2a.train.optim import OptimConfig
from t2a.train.protocol import EngineConfig
from t2a.train.streams import follow_autoencoder, follow_codec
from t2a.train.track import TrackConfig

TaskConfig = Annotated[
    CodecTaskConfig
    | LMTaskConfig
    | EntropyTaskConfig
    | ClapTaskConfig
    | SsastTaskConfig
    | AutoencoderTaskConfig
    | VocoderTaskConfig
    | DenoiserTaskConfig,
    Field(discriminator="kind"),
]
DATA_OF_TASK = {
    "codec": ("audio",),
    "lm": ("codes", "audio"),
    "entropy": ("codes",),
    "clap": ("audio",),
    "ssast": ("audio",),
    "autoencoder": ("audio",),
    "vocoder": ("audio",),
    "denoiser": ("latents", "audio"),
}


class CheckpointConfig(Config):
    """Save every so many steps and at the end; the newest `keep` stay."""

    every: int = Field(1000, ge=1)
    keep: int = Field(2, ge=1)


class EvalConfig(Config):
    """Evaluate every so many steps and at the end on the first `rows` rows of a split."""

    every: int = Field(500, ge=1)
    rows: int = Field(64, ge=1)
    split: str = "valid"


class Run(Config):
    """A training run. Its folder is `out/name`; running it again goes on from its newest checkpoint.

    batch_size: rows of one optimizer step over all workers.
    cpus: logical CPUs a worker takes from Ray; at least one CPU of the cluster must stay free for reading data.
    max_failures: how often a lost worker or node is replaced before the run gives up; -1 never gives up.
    log_rows: keep the ids of the rows that each rank took in the checkpoints.
    init: an exported model (a folder, a run, s3://, models:/name@alias) whose weights the run begins with; it may be
    that of a part, as an ssast is of a clap.
    lora: train low-rank changes of that model alone; they are merged into what is exported.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    out: str
    seed: int = 0
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    workers: int = Field(1, ge=1)
    cpus: float = Field(1.0, gt=0)
    gpu: bool = False
    max_failures: int = Field(3, ge=-1)
    task: TaskConfig
    init: str | None = None
    lora: LoraConfig | None = None
    data: DataConfig
    optim: dict[str, OptimConfig]
    engine: EngineConfig = EngineConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    eval: EvalConfig | None = EvalConfig()
    track: TrackConfig = TrackConfig()
    log_every: int = Field(10, ge=1)
    log_rows: bool = False

    @property
    def folder(self) -> str:
        """URI of the run's folder."""
        return storage.join(self.out, self.name)

    @property
    def rank_batch(self) -> int:
        """Rows that one worker takes for one optimizer step."""
        return self.batch_size // self.workers

    @model_validator(mode="before")
    @classmethod
    def _sized_by_what_makes_its_frames(cls, settings: Any) -> Any:
        return follow_autoencoder(follow_codec(settings)) if isinstance(settings, dict) else settings

    @model_validator(mode="after")
    def _divides(self) -> "Run":
        parts = self.workers * self.engine.accumulate
        if self.batch_size % parts:
            below = self.batch_size // parts * parts
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by workers x engine.accumulate = {self.workers} x "
                f"{self.engine.accumulate}; take {below + parts}" + (f" or {below}" if below else "")
            )
        if self.engine.kind == "plain" and self.workers > 1:
            raise ValueError(f"engine.kind plain has one worker, not {self.workers}; take deepspeed or set workers=1")
        return self

    @model_validator(mode="after")
    def _adapts_what_there_is(self) -> "Run":
        if self.lora and self.init is None:
            raise ValueError("lora adapts a model that there is already: name it as init, or leave lora out")
        if self.lora and self.engine.precision == "bf16":
            raise ValueError("lora with precision bf16 would round the frozen weights; take engine.precision=autocast")
        return self

    @model_validator(mode="after")
    def _optim_fits_networks(self) -> "Run":
        names = self.task.networks
        problems = [f"optim.{name} is missing, the task trains a network of this name" for name in names
                    if name not in self.optim]  # fmt: skip
        for name in self.optim:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(names)}"
                problems.append(f"optim.{name}: the task has no network of this name ({hint})")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _task_takes_data(self) -> "Run":
        fit = DATA_OF_TASK.get(self.task.kind, (self.data.kind,))
        if self.data.kind not in fit:
            raise ValueError(
                f"task {self.task.kind} is trained on {' or '.join(fit)}, but data.kind is {self.data.kind}"
            )
        model: Any = getattr(self.task, "model", None)
        for name in ("sample_rate", "channels", "codebooks", "latent"):
            given, asked = getattr(self.data, name, None), getattr(model, name, None)
            if given is not None and asked is not None and given != asked:
                raise ValueError(f"data.{name} is {given}, but task.model.{name} is {asked}; make them equal")
        return self
