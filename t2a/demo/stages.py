"""The stages of the demo, in their order; each returns facts that later stages and the report use."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from t2a import registry, storage
from t2a.config import dump, load
from t2a.data.prepare import prepare
from t2a.data.shards import Manifest
from t2a.data.visit import read_row_group
from t2a.demo.listening import answer_over_http, generate_prompts, reconstruct
from t2a.demo.state import Facts, State
from t2a.errors import DataError
from t2a.evaluate import evaluate
from t2a.generate.codes import precompute_codes
from t2a.train.fit import fit
from t2a.train.run import Run

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"
# `--quick` shortens what takes minutes; everything else is the same.
QUICK = {
    "codec": ["steps=30", "batch_size=8", "eval.every=15", "checkpoint.every=15"],
    "lm": ["steps=30", "batch_size=8", "eval.every=15", "checkpoint.every=15"],
}


class Demo:
    """One demo: where it keeps things, what it has found out so far, and its stages."""

    def __init__(self, folder: Path, bucket: str, state: State, source: str, quick: bool):
        self.folder, self.bucket, self.state, self.source, self.quick = folder, bucket, state, source, quick
        self.corpus_uri, self.codes_uri = storage.join(bucket, "corpus"), storage.join(bucket, "codes")

    def run(self) -> Path:
        from t2a.demo.report import write_report

        corpus = self.state.run("corpus", self.source, self.corpus)
        codec_run = self.recipe("codec", [f"data.uri={self.corpus_uri}"])
        codec = self.state.run("codec", dump(codec_run), lambda: self.train(codec_run))
        codes = self.state.run("codes", codec["model"], lambda: self.codes(codec["model"]))
        lm_run = self.recipe("lm", [f"data.uri={self.codes_uri}", f"task.codec={codec['model']}"])
        lm = self.state.run("lm", dump(lm_run), lambda: self.train(lm_run))
        models = {"codec": codec["model"], "lm": lm["model"]}
        figures = self.state.run("evaluate", models, lambda: self.evaluate(models))
        clips = self.state.run("generate", models, lambda: self.listen(models))
        served = self.state.run("serve", models, lambda: answer_over_http(models["lm"], self.folder))
        report = self.folder / "report.html"
        facts = {
            "corpus": corpus, "codec": codec, "codes": codes, "lm": lm, "figures": figures, "clips": clips,
            "served": served,
        }  # fmt: skip
        write_report(report, facts, self.state.seconds(), {"codec": dump(codec_run), "lm": dump(lm_run)})
        return report

    def recipe(self, name: str, overrides: list[str]) -> Run:
        quick = QUICK[name] if self.quick else []
        out = f"out={storage.join(self.bucket, 'runs')}"
        return load(Run, RECIPES / f"{name}-small.yaml", [out, *overrides, *quick])

    def corpus(self) -> Facts:
        """Real sounds from Debian packages; synthesised ones where there is no apt."""
        source, why = self.source, None
        try:
            manifest = prepare(source, self.corpus_uri, overwrite=True, **({"count": 200} if self.quick else {}))
        except DataError as error:
            if "t2a prepare synthetic" not in str(error):
                raise
            self.state.console.print(f"[yellow]{error}[/] Going on with synthesised sounds.", highlight=False)
            source, why = "synthetic", str(error)
            manifest = prepare("synthetic", self.corpus_uri, count=1500, overwrite=True)
        return {"source": source, "why": why, **statistics(manifest), **contents(self.corpus_uri, manifest)}

    def train(self, run: Run) -> Facts:
        result = fit(run)
        uri = registry.register(run.name, result.model_uri, "champion", run_id=result.mlflow_run_id)
        return {
            "model": result.model_uri, "run": result.run_uri, "steps": result.step, "version": str(uri),
            "mlflow_run": result.mlflow_run_id, "metrics": result.metrics,
        }  # fmt: skip

    def codes(self, codec: str) -> Facts:
        return statistics(precompute_codes(self.corpus_uri, self.codes_uri, codec, overwrite=True))

    def evaluate(self, models: dict[str, str]) -> Facts:
        rows = 16 if self.quick else 80
        figures: dict[str, Any] = {}
        for name, corpus in (("codec", self.corpus_uri), ("lm", self.codes_uri)):
            found = evaluate(models[name], corpus, split="test", rows=rows, listened=4)
            figures[name] = found.plain()["figures"]
        (self.folder / "figures.json").write_text(json.dumps(figures, indent=2))
        return figures

    def listen(self, models: dict[str, str]) -> Facts:
        clips = self.folder / "clips"
        clips.mkdir(exist_ok=True)
        return {
            "generated": generate_prompts(models["lm"], clips, seconds=2.0 if self.quick else 4.0),
            "reconstructed": reconstruct(models["codec"], self.corpus_uri, clips, count=6),
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
