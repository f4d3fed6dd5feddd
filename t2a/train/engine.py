"""Several networks in one process, each under its own DeepSpeed ZeRO engine. The only importer of deepspeed."""

import contextlib
import io
import logging
import os
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

# Both are read while deepspeed is imported: which device there is, and how much it has to tell about itself.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")

import deepspeed
import deepspeed.ops
from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param, safe_set_local_fp32_param

from t2a.errors import CheckpointError
from t2a.train.optim import OptimConfig, adamw
from t2a.train.precision import cast_forward
from t2a.train.protocol import EngineConfig, untrained

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
# DeepSpeed would build a shared-memory all-reduce with a C++ compiler (40 s, and forever behind the lock of a killed
# build) and probe a compiler for every other op to find out whether it can. Nothing here uses any of them.
deepspeed.ops.__compatible_ops__ = {}


class ZeroEngine:
    """A network under ZeRO 0-3; see `t2a.train.protocol.Engine`.

    `torch.distributed` must be initialised. `universal` prepares for loading what `to_universal` wrote.
    """

    def __init__(
        self,
        module: nn.Module,
        optim: OptimConfig,
        config: EngineConfig,
        device: torch.device,
        micro_batch: int,
        universal: bool = False,
    ):
        scalars = [name for name, p in module.named_parameters() if p.ndim == 0]
        if scalars:
            raise ValueError(f"DeepSpeed takes no parameters of shape []: give {', '.join(scalars)} the shape [1].")
        module.to(device)
        cast_forward(module, config.precision, device)
        settings = _settings(module, config, micro_batch, universal)
        deepspeed.init_distributed(dist_backend=distributed.get_backend(), verbose=False)
        self.config = config
        self._optimizer = adamw(optim, module)
        self._decays = [group["weight_decay"] for group in self._optimizer.param_groups]
        self._engine, *_ = deepspeed.initialize(model=module, optimizer=self._optimizer, config=settings)
        self.module = self._engine.module
        self.grad_norm: float | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._engine(*args, **kwargs)

    def train(self, mode: bool = True) -> None:
        self._engine.train(mode)

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)

    def step(self, lr: float) -> bool:
        boundary = self._engine.is_gradient_accumulation_boundary()
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        if boundary and self.config.zero == 0:  # the only stage at which DeepSpeed does not tell the norm
            grads = [p.grad for p in self.module.parameters() if p.grad is not None]
            self.grad_norm = float(nn.utils.get_total_norm(grads))
        self._engine.step()
        if boundary and self.config.zero:
            self.grad_norm = float(self._engine.get_global_grad_norm())
        return boundary

    def masters(self) -> list[Tensor]:
        if self.config.zero == 0:
            return [p.data for p in self.module.parameters() if p.requires_grad]
        names = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups")  # stage 3; stages 1 and 2
        partitions = next(p for name in names if (p := getattr(self._engine.optimizer, name, None)) is not None)
        return [partition.data for partition in partitions]

    def full(self) -> dict[str, Tensor]:
        parameters = {id(p): _whole(p) for p in self.module.parameters()}
        names = dict(self.module.named_parameters(remove_duplicate=False))
        buffers = dict(self.module.named_buffers(remove_duplicate=False))
        return {
            name: parameters[id(names[name])] if name in names else buffers[name].detach().cpu().clone()
            for name in self.module.state_dict()
        }

    @torch.no_grad()
    def assign(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                _assign(parameter, weights[name])

    @torch.no_grad()
    def fill(self, weights: dict[str, Tensor]) -> None:
        for name, tensor in untrained(self.module).items():
            if name in weights:
                parted = hasattr(tensor, "ds_id")
                with deepspeed.zero.GatheredParameters([tensor], modifier_rank=0) if parted else nullcontext():
                    tensor.data.copy_(weights[name])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._engine.save_checkpoint(str(folder.parent), tag=folder.name, save_latest=False)
        for script in folder.parent.glob("zero_to_*.py"):
            script.unlink(missing_ok=True)

    def load(self, folder: Path) -> None:
        loaded, _ = self._engine.load_checkpoint(str(folder.parent), tag=folder.name)
        if loaded is None:
            raise CheckpointError(
                f"DeepSpeed found no state in {folder}; remove this checkpoint to take the one before."
            )
        # A universal checkpoint at stage 3 gives all groups one and the same step tensor, which each of them would
        # count up, and the weight decay of the first.
        for state in self._optimizer.state.values():
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].clone()
        for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
            group["weight_decay"] = decay


def to_universal(folder: Path, out: Path) -> None:
    """Convert what `ZeroEngine.save` wrote on some number of ranks so that any number of ranks can load it."""
    from deepspeed.checkpoint import ds_to_universal

    out.mkdir()
    arguments = Namespace(
        input_folder=str(folder), output_folder=str(out), num_extract_workers=1, num_merge_workers=1,
        keep_temp_folder=False, strict=True, inject_missing_state=True,
    )  # fmt: skip
    with io.StringIO() as talk, contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
        try:
            ds_to_universal.main(arguments)
        except Exception as error:
            raise CheckpointError(
                f"The state in {folder} cannot be converted to another number of workers ({error!r}); "
                "resume with the number that wrote it."
            ) from error


def _settings(module: nn.Module, config: EngineConfig, micro_batch: int, universal: bool) -> dict[str, Any]:
    """DeepSpeed's configuration. Buffers are sized by the network, not for a model of billions."""
    size = sum(p.numel() for p in module.parameters())
    zero = {
        "stage": config.zero,
        "reduce_bucket_size": min(size, 50_000_000),
        "stage3_prefetch_bucket_size": min(size, 50_000_000),
        "stage3_param_persistence_threshold": min(size // 100, 100_000),
    }
    return {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.clip or 0.0,
        # A non-finite gradient must reach the loop, which stops the run, instead of being stepped over.
        "bf16": {"enabled": config.precision == "bf16", "check_grad_overflow": False},
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": None,
    }


def _whole(parameter: nn.Parameter) -> Tensor:
    """Gather one parameter in float32 on CPU."""
    full = safe_get_full_fp32_param(parameter)
    if full is None and hasattr(parameter, "ds_id"):  # stage 3 keeps no master of a frozen parameter
        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().float().cpu().clone()
    return (parameter if full is None else full).detach().float().cpu().clone()


def _assign(parameter: nn.Parameter, value: Tensor) -> None:
    """Overwrite this rank's part of one parameter's master."""
    value = value.to(parameter.device, torch.float32)
    if hasattr(parameter, "ds_id"):
        # Not safe_set_full_fp32_param: it cuts past the end of a parameter that the ranks do not divide evenly.
        part = parameter.ds_tensor.numel()
        padded = nn.functional.pad(value.flatten(), (0, part * distributed.get_world_size() - value.numel()))
        safe_set_local_fp32_param(parameter, padded[part * distributed.get_rank() :][:part])
    elif hasattr(parameter, "_hp_mapping"):
        safe_set_full_fp32_param(parameter, value)
    else:
        parameter.data.copy_(value)
