"""Read what `torch.save` wrote without running anything that it asks to be run.

A pickle is a program that may call any function there is. `torch.load(weights_only=True)` follows only calls that make
tensors, and refuses a file that has others. Of such files `InertUnpickler` makes the tensors, too, and in the place of
every other object it puts an `Inert` one, that keeps what the object was to be filled with and does nothing.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from t2a.errors import CheckpointError

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Inert:
    """What stands for an object that is not made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = args

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...


def read(path: Path) -> Any:
    """Return the tensors and plain values of a file of `torch.save`; other objects are `Inert`.

    Raises `CheckpointError` for a file that cannot be read to its end.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return _read_inert(path)
    except Exception as error:  # a damaged file fails in any way
        raise CheckpointError(f"{path} is no checkpoint, or a damaged one ({_line(error)}); copy it again.") from error


def tensors(values: Any, where: str) -> dict[str, Tensor]:
    """Check that values are tensors by name. Raises `CheckpointError` naming what is not."""
    if not isinstance(values, Mapping) or not values:
        raise CheckpointError(f"{where} holds a {type(values).__name__} where tensors by name should be.")
    foreign = [str(name) for name, value in values.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(f"{where} holds {len(foreign)} entries that are no tensors ({', '.join(foreign[:3])}).")
    return dict(values)


class InertUnpickler(pickle.Unpickler):
    """Unpickle the `data.pkl` of an archive of `torch.save`."""

    GLOBALS: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        **{("torch", name): dtype for name, dtype in DTYPES.items()},
    }

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(archive.open(f"{folder}data.pkl"))
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self.parameter
        return self.GLOBALS.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage that `pid` names, as a vector."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"an unknown storage {pid!r}")
        if key not in self.storages:
            entry = self.archive.getinfo(f"{self.folder}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"storage {key} is not of the size that it is said to be")
            data = bytearray(self.archive.read(entry))
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]

    def tensor(self, storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
        return storage.as_strided(size, stride, offset)  # which checks that it stays inside

    def parameter(self, data: Tensor, *_: Any) -> Tensor:
        return data


def _read_inert(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            (entry,) = (name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl"))
            folder = entry.removesuffix("data.pkl")
            if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
                raise pickle.UnpicklingError("its numbers are big-endian")
            return InertUnpickler(archive, folder).load()
    except Exception as error:  # a damaged or malicious file fails in any way
        raise CheckpointError(
            f"{path} is no checkpoint, a damaged one, or one of torch before 1.6 with more than tensors in it "
            f"({_line(error)}); copy it again, or save its tensors alone."
        ) from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200].rstrip(":. ")
