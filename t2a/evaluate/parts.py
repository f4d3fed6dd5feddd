"""How well the models around one that generates do: the judge that hears it, and what makes sound of its latents."""

from dataclasses import dataclass
from typing import Any

from t2a.evaluate.autoencoder import evaluate_autoencoder
from t2a.evaluate.clap import evaluate_clap
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.vocoder import evaluate_vocoder
from t2a.models.pretrained import locate


@dataclass(frozen=True)
class Parts:
    """Figures on the clips of `originals`; a language model has no autoencoder, and not every denoiser a vocoder."""

    originals: str
    judge: Evaluation
    autoencoder: Evaluation | None = None
    vocoder: Evaluation | None = None

    def evaluations(self) -> dict[str, Evaluation]:
        """Return those that there are, by the part's name."""
        found = {"judge": self.judge, "autoencoder": self.autoencoder, "vocoder": self.vocoder}
        return {name: evaluation for name, evaluation in found.items() if evaluation}

    def plain(self) -> dict[str, Any]:
        """Return the figures of each part as values for JSON."""
        return {name: {"corpus": self.originals} | found.plain() for name, found in self.evaluations().items()}


def evaluate_parts(
    model: str, originals: str, judge: str, *, split: str = "test", rows: int = 128, listened: int = 16, seed: int = 0
) -> Parts:
    """Measure the judge, and the autoencoder and the vocoder that lie in a denoiser's folder, each as it is alone.

    `originals` are the clips that the model's codes or latents were made of. The autoencoder is heard through the
    vocoder beside it, or through Griffin-Lim, which then makes sound of what is generated too.
    """
    folder = locate(model)
    autoencoder, vocoder = (path if path.is_dir() else None for path in (folder / "autoencoder", folder / "vocoder"))
    listening: Any = {"listened": listened, "seed": seed}
    through = str(vocoder) if vocoder else None
    return Parts(
        originals,
        evaluate_clap(locate(judge), originals, split, rows, seed=seed),
        autoencoder and evaluate_autoencoder(autoencoder, originals, split, rows, vocoder=through, **listening),
        vocoder and evaluate_vocoder(vocoder, originals, split, rows, **listening),
    )
