"""The stages of the demo, in their order; each returns facts that later stages and the report use."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from t2a import registry, storage
from t2a.conditions.text import MiniLMConfig
from t2a.config import dump
from t2a.data.prepare import prepare
from t2a.data.shards import Manifest
from t2a.data.visit import read_row_group
from t2a.demo.listening import PROMPTS, generate_prompts, reconstruct
from t2a.demo.serving import answer_over_http
from t2a.demo.state import Facts, State
from t2a.demo.trainings import TRAININGS, recipe
from t2a.errors import DataError
from t2a.evaluate import evaluate
from t2a.generate.codes import precompute_codes
from t2a.generate.latents import precompute_latents
from t2a.train.fit import fit
from t2a.train.run import Run

SPEAKING = ("lm", "denoiser")  # models that are told the prompts


class Demo:
    """One demo: where it keeps things, what it has found out so far, and its stages."""

    def __init__(self, folder: Path, bucket: str, state: State, source: str, quick: bool):
        self.folder, self.bucket, self.state, self.source, self.quick = folder, bucket, state, source, quick
        self.facts: dict[str, Facts] = {}
        self.recipes: dict[str, str] = {}

    def run(self) -> Path:
        """Go through all stages; the report's path."""
        from t2a.demo.report import write_report

        self.stage("corpus", self.corpus, inputs=[self.source, self.quick])
        self.training("codec")
        self.stage("codes", self.codes, ("corpus", "codec"))
        self.training("lm")
        self.training("autoencoder")
        self.training("vocoder")
        self.stage("latents", self.latents, ("corpus", "autoencoder"))
        self.training("denoiser")
        self.stage("evaluate", self.evaluate, TRAININGS)
        self.stage("generate", self.listen, TRAININGS)
        self.stage("serve", lambda: answer_over_http(self.models["lm"], PROMPTS[0], self.folder), ["lm"])
        report = self.folder / "report.html"
        write_report(report, self.facts, self.state.seconds(), self.recipes)
        return report

    @property
    def models(self) -> dict[str, str]:
        """Where the models lie that are trained by now."""
        return {name: self.facts[name]["model"] for name in TRAININGS if name in self.facts}

    def stage(self, name: str, work: Callable[[], Facts], needs: Iterable[str] = (), inputs: Any = None) -> None:
        """Find out the facts of a stage, unless an earlier demo has; `needs` are the stages it builds on."""
        self.facts[name] = self.state.run(name, inputs, work, needs)

    def training(self, name: str) -> None:
        """The stage of one of `TRAININGS`."""
        run = recipe(name, self.bucket, self.models, self.quick)
        self.recipes[name] = dump(run)
        self.stage(name, lambda: self.train(run), TRAININGS[name].needs, self.recipes[name])

    def uri(self, corpus: str) -> str:
        """Where the corpus of a stage lies."""
        return storage.join(self.bucket, corpus)

    def corpus(self) -> Facts:
        """Real sounds from Debian packages; synthesised ones where there is no apt."""
        source, why, uri = self.source, None, self.uri("corpus")
        try:
            manifest = prepare(source, uri, overwrite=True, **({"count": 200} if self.quick else {}))
        except DataError as error:
            if "t2a prepare synthetic" not in str(error):
                raise
            self.state.console.print(f"[yellow]{error}[/] Going on with synthesised sounds.", highlight=False)
            source, why = "synthetic", str(error)
            manifest = prepare("synthetic", uri, count=1500, overwrite=True)
        return {"source": source, "why": why, **statistics(manifest), **contents(uri, manifest)}

    def train(self, run: Run) -> Facts:
        result = fit(run)
        uri = registry.register(run.name, result.model_uri, "champion", run_id=result.mlflow_run_id)
        return {
            "model": result.model_uri, "run": result.run_uri, "steps": result.step, "version": str(uri),
            "mlflow_run": result.mlflow_run_id, "metrics": result.metrics,
        }  # fmt: skip

    def codes(self) -> Facts:
        corpus, out = self.uri("corpus"), self.uri("codes")
        return statistics(precompute_codes(corpus, out, self.models["codec"], overwrite=True))

    def latents(self) -> Facts:
        """Latents, and the states of the captions, so that the denoiser's training runs no text encoder."""
        corpus, out, encoders = self.uri("corpus"), self.uri("latents"), {"text": MiniLMConfig()}
        autoencoder = self.models["autoencoder"]
        return statistics(precompute_latents(corpus, out, autoencoder, encoders=encoders, overwrite=True))

    def evaluate(self) -> Facts:
        rows, models = 16 if self.quick else 80, self.models
        figures: dict[str, Any] = {}
        for name, training in TRAININGS.items():
            heard = {"listened": 4, "vocoder": models["vocoder"]}
            found = evaluate(models[name], self.uri(training.corpus), split="test", rows=rows, **heard)
            figures[name] = found.plain()["figures"]
        (self.folder / "figures.json").write_text(json.dumps(figures, indent=2))
        return figures

    def listen(self) -> Facts:
        clips = self.folder / "clips"
        clips.mkdir(exist_ok=True)
        models = {name: self.models[name] for name in SPEAKING}
        return {
            "generated": generate_prompts(models, clips, seconds=2.0 if self.quick else 4.0),
            "reconstructed": reconstruct(self.models, self.uri("corpus"), clips, count=6),
        }


def contents(uri: str, manifest: Manifest) -> Facts:
    """Minutes of each category, longest first, and clips of each licence."""
    minutes: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for shard in manifest.shards:
        for group in range(len(shard.row_groups)):
            for row in read_row_group(uri, shard, group, ["category", "seconds", "licence"]):
                minutes[row["category"]] += row["seconds"] / 60
                licences[row["licence"]] += 1
    return {"categories": dict(minutes.most_common()), "licences": dict(licences.most_common())}


def statistics(manifest: Manifest) -> Facts:
    """Counts and hours by split, and what was left out."""
    splits: dict[str, dict[str, float]] = {}
    for shard in manifest.shards:
        split = splits.setdefault(shard.split, {"clips": 0, "hours": 0.0})
        split["clips"] += shard.rows
        split["hours"] += shard.seconds / 3600
    return {"splits": splits, "skipped": dict(manifest.skipped), "made_from": manifest.made_from}
