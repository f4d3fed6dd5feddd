"""What the demo lets one hear: prompts, reconstructions, and one clip asked for over HTTP."""

import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from t2a.audio.io import decode, write
from t2a.audio.transform import resample, to_channels
from t2a.data.shards import read_manifest, read_rows
from t2a.demo.services import free_ports
from t2a.errors import T2AError

PROMPTS = (
    "A dog barks.",
    "Rain falls steadily.",
    "A helicopter flies by.",
    "A single hit on a snare drum.",
    "An explosion.",
    "A footstep on gravel.",
    "A fire crackles.",
    "A crowd cheers.",
)
READY_SECONDS = 120.0


def generate_prompts(model: str, folder: Path, seconds: float, guidance: float = 3.0) -> list[dict[str, Any]]:
    """Generate all prompts in one batch, write them to `folder` and say what was made how."""
    from t2a.generate import load

    generator = load(model)
    settings = {"seconds": min(seconds, generator.max_seconds), "guidance": guidance}
    start = time.perf_counter()
    seeds = list(range(len(PROMPTS)))
    clips = generator.generate(list(PROMPTS), settings["seconds"], guidance=guidance, seeds=seeds)
    took = time.perf_counter() - start
    made = []
    for prompt, seed, clip in zip(PROMPTS, seeds, clips, strict=True):
        path = folder / f"generated-{seed}.wav"
        write(path, clip, generator.sample_rate)
        made.append({"prompt": prompt, "seed": seed, "file": str(path), "took": took / len(clips), **settings})
    return made


def reconstruct(model: str, corpus: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """Put `count` held-out clips through the codec; original and reconstruction lie beside each other."""
    import torch

    from t2a.metrics.signal import mel_distance, si_snr
    from t2a.models.codec import Codec

    codec = Codec.from_pretrained(model)
    # Every n-th clip, as neighbours come out of one package and sound alike.
    there = sum(shard.rows for shard in read_manifest(corpus).of("test"))
    step = max(1, min(12, there // count))
    rows = islice(read_rows(corpus, "test"), 0, step * count, step)
    made = []
    for index, row in enumerate(rows):
        wave, rate = decode(row["audio"]["bytes"])
        original = torch.from_numpy(resample(to_channels(wave, codec.channels), rate, codec.sample_rate))[None]
        with torch.inference_mode():
            again = codec(original).audio
        files = {"original": folder / f"original-{index}.wav", "decoded": folder / f"decoded-{index}.wav"}
        for path, sound in zip(files.values(), (original, again), strict=True):
            write(path, sound[0].numpy(), codec.sample_rate)
        made.append(
            {
                "id": row["id"],
                "caption": row["captions"][0],
                **{name: str(path) for name, path in files.items()},
                "si_snr": float(si_snr(again, original)),
                "mel_distance": float(mel_distance(again, original, codec.sample_rate)),
            }
        )
    return made


def answer_over_http(model: str, folder: Path) -> dict[str, Any]:
    """Start `t2a serve`, ask it for one clip as any client would, and end it."""
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    log = folder / "serve.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "t2a.cli", "serve", model, "--port", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_healthy(server, address, log)
        request = {"prompt": PROMPTS[0], "seconds": 1.0, "seed": 0}
        start = time.perf_counter()
        answer = httpx.post(f"{address}/v1/audio/generations", json=request, timeout=120)
        took = time.perf_counter() - start
        answer.raise_for_status()
        path = folder / "clips" / "served.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(answer.content)
        wave, rate = decode(path)
        return {**request, "file": str(path), "took": took, "samples": wave.shape[-1], "rate": rate}
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_healthy(server: subprocess.Popen, address: str, log: Path) -> None:
    """Return when the server answers; `T2AError` when it ended or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise T2AError(f"`t2a serve` ended with exit code {server.returncode}; its last words are in {log}.")
        try:
            if httpx.get(f"{address}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise T2AError(f"`t2a serve` did not answer within {READY_SECONDS:.0f} s; its last words are in {log}.")
