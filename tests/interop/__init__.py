# Before anything that imports transformers or encodec, as that module says.
import t2a.audio.torchaudio_backend  # noqa: F401
