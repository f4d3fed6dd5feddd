"""The page of a CLAP: what it finds among held-out clips, and what it hears in some of them."""

from pathlib import Path

from t2a import __version__
from t2a.data.skips import Skips
from t2a.evaluate.clap import candidates, heard
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.report import figures
from t2a.report.measured import conditions, measures
from t2a.report.page import AudioCard, Block, Cards, Figures, Note, Page, Section

BETTER = {"accuracy": "higher"}  # the two ways of retrieval are no rivals
SOUNDS, NEAREST = 8, 3


def write_clap_page(path: Path, evaluation: Evaluation, model: str, corpus: str, split: str) -> None:
    """Write the page, whole or not at all; it hears the clips again."""
    told = evaluation.conditions
    page = Page(
        title="What the CLAP hears",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        highlights=_highlights(evaluation),
        sections=[
            Section("Figures", tables(evaluation), "Means over held-out clips or captions with 95 % intervals."),
            sounds(model, corpus, split, told["rows"], told["seed"]),
        ],
    )
    page.write(path)


def tables(evaluation: Evaluation) -> list[Block]:
    """A table for each kind of figure, with what stands beside it."""
    rows = measures(evaluation)
    kinds = {
        "Recall": {"r@1", "r@5", "r@10"},
        "Zero-shot accuracy": {"accuracy"},
        "CLAP score: cosine with a clip's captions": {"clap_score"},
        "Differences within each clip": {"gain"},
    }
    blocks: list[Block] = []
    for caption, metrics in kinds.items():
        shown = {system: row for system, row in rows.items() if row.keys() <= metrics}
        if shown:
            blocks.append(Figures(shown, better=BETTER, caption=caption))
    return blocks + conditions(evaluation)


def sounds(model: str, corpus: str, split: str, rows: int, seed: int) -> Section:
    """Some clips, each with the captions that are nearest to it."""
    judge = Judge.from_folder(model)
    clips = heard(judge, corpus, split, rows, seed, Skips())
    captions = candidates(clips)
    chosen = sorted(clips, key=lambda clip: clip.turn)[:SOUNDS]
    similarity = judge.similarity([clip.wave for clip in chosen], judge.sample_rate, captions)
    cards = []
    for clip, cosines in zip(chosen, similarity, strict=True):
        best = cosines.argsort()[::-1][:NEAREST]
        told = "; ".join(f"{captions[index]} {cosines[index]:.2f}" for index in best)
        picture = figures.mel(clip.wave, judge.sample_rate, width=260, height=120)
        title = next(caption.strip() for caption in clip.captions if caption.strip())
        cards.append(AudioCard(title, clip.wave, judge.sample_rate, picture, f"nearest: {told}", encoding="ogg"))
    return Section("Sounds", [Note("Clips are drawn with a seed; none was chosen by ear."), Cards(cards)])


def _highlights(evaluation: Evaluation) -> dict[str, str]:
    found = {
        "sound to caption, R@10": f"{evaluation.figures['r@10/sound to caption'].mean:.0%}",
        "caption to sound, R@10": f"{evaluation.figures['r@10/caption to sound'].mean:.0%}",
    }
    accuracy = evaluation.figures.get("accuracy/category")
    return found | ({"zero-shot accuracy": f"{accuracy.mean:.0%}"} if accuracy else {})
