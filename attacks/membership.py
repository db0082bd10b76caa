"""Membership: was this image erased? Judged by the model's outputs on it before and after unlearning."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from unlearnbench.adversary.change_statistics import ChangeStatistic, of_label
from unlearnbench.plugin import (
    Access,
    Attack,
    AttackView,
    Evidence,
    Level,
    PluginParams,
    Scenario,
    ShadowUpdates,
    Tier,
    Updates,
)

SUREST = 1e-6  # nearest that a probability comes to 0 and 1


class Membership(Attack):
    """UnlearningLeaks (Chen et al., section 3): a classifier on features of the outputs before and after.

    It is trained on shadow erasures, on the erased images against never-seen ones of the same classes, and scored on
    the targets' erased images against never-seen ones of the same classes, none of which the adversary knew. `sorted`
    features sort both outputs by the one before. `margin` and `labelled` features know the candidates' labels, as
    deletion_inference does: the fall of the label's margin, or margin and log-probability before and their falls.

    `best` features and classifiers, and the penalties of every classifier, are averages of log-odds: each has the
    weight exp(-loss), its log loss on the validation shadows, to which none was fitted: with few shadows a rich
    classifier learns them by heart. The best one alone would be chosen by a dozen shadows, that is by luck; hundreds of
    them leave next to no weight to the others.

    The baseline is the classical attack on a single model: the same classifier, fitted to the same shadows, on the
    sorted output of the original alone, and on its label's margin and log-probability where the attack may use them.
    Defences are part of what is observed, so they apply to it, too.
    """

    paper = "Chen et al.: When Machine Unlearning Jeopardizes Privacy, CCS 2021"
    ranks_by = ("auc",)
    version = 3

    class Params(PluginParams):
        observe: Level = Field(
            "log_probabilities", description="observation level of the outputs; top_k and label are defences"
        )
        temperature: float = Field(1, gt=0, description="a defence: outputs are softmax(logits / temperature)")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        tier: Tier = Field("same", description="the models that shadows start from: see Access")
        shadow_models: int = Field(8, ge=8, description="originals of the adversary's own, tier `disjoint` only")
        features: Literal[
            "best", "direct_difference", "sorted_difference", "direct_concatenation", "sorted_concatenation", "l2",
            "margin", "labelled",
        ] = Field("best", description="how the outputs before and after are combined")  # fmt: skip
        classifier: Literal["best", "logistic", "tree", "forest", "mlp"] = Field(
            "logistic", description="scikit-learn classifier; best: all, the others on the features that suit"
            " `logistic`"
        )  # fmt: skip

        @model_validator(mode="after")
        def _models_of_their_tier(self) -> Self:
            if self.tier == "same":
                self.refuse(["shadow_models"], "tier 'same'")
            elif self.shadow_models > self.shadows:
                raise ValueError(f"{self.shadow_models} shadow_models need as many shadows, got {self.shadows}")
            return self

    @property
    def access(self) -> Access:
        return Access(
            level=self.params.observe,
            temperature=self.params.temperature,
            shadows=self.params.shadows,
            tier=self.params.tier,
            shadow_models=self.params.shadow_models if self.params.tier == "disjoint" else 0,
        )

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "membership needs a leak experiment"
        # Each original has its own coordinates of Z: only lengths can be compared between them.
        if (self.params.observe, self.params.tier) == ("representation", "disjoint") and self.params.features != "l2":
            return "representations of different originals do not align: tier disjoint needs features l2 there"
        if self.params.observe == "representation" and self.params.features in _LABELLED:
            return f"a representation has no margin of the label: features {self.params.features} need probabilities"
        return None

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        seed = view.torch_seed("classifier") % 2**32
        level, chosen = self.params.observe, self.params.features
        features = _PAIRED if chosen == "best" else [chosen]
        baseline = ["original", "original_labelled"] if chosen in ("best", *_LABELLED) else ["original"]
        if level == "representation":
            features, baseline = [name for name in features if name not in _LABELLED], ["original"]
        return Evidence(
            membership=_infer(shadow, target, features, self.params.classifier, level, seed),
            threshold=0.5,
            baseline=_infer(shadow, target, baseline, self.params.classifier, level, seed),
        )


class _Fitted(NamedTuple):
    """A classifier's answers, and how well it answers where the truth is known."""

    loss: float  # log loss, summed over the validation shadows
    features: str
    log_odds: np.ndarray  # f64[T * c], of the targets


def _infer(
    shadow: ShadowUpdates, target: Updates, features: Sequence[str], classifier: str, level: Level, seed: int
) -> Tensor:
    """Probabilities f64[T, c] by all features and classifiers, weighted by how well they answer about shadows."""
    first, *others = ["logistic", "tree", "mlp", "forest"] if classifier == "best" else [classifier]
    # Not every pair: forests alone would take half a second on all kinds of features.
    fits = [fit for name in features for fit in _fit(shadow, target, name, first, level, seed)]
    suits = min(fits, key=lambda fitted: fitted.loss).features
    fits += [fit for kind in others for fit in _fit(shadow, target, suits, kind, level, seed)]
    losses = np.array([fitted.loss for fitted in fits])
    weights = np.exp(losses.min() - losses)
    log_odds = sum(w * fitted.log_odds for w, fitted in zip(weights / weights.sum(), fits, strict=True))
    return torch.from_numpy(log_odds).sigmoid().view(target.candidates_after.shape[:2])


def _fit(
    shadow: ShadowUpdates, target: Updates, name: str, classifier: str, level: Level, seed: int
) -> Iterator[_Fitted]:
    """One kind of classifier on one kind of features, fitted with each of its penalties."""
    from sklearn.exceptions import ConvergenceWarning

    known, asked = _features(name, shadow.updates, level), _features(name, target, level)
    training, validation = ~shadow.validation, shadow.validation
    if not bool(training.any() and validation.any()):
        training = validation = torch.ones_like(shadow.validation)
    centre, scale = known[training].mean((0, 1)), known[training].std((0, 1))
    scale = torch.where(scale > 0, scale, 1.0)
    known, asked = (known - centre) / scale, (asked - centre) / scale
    for model in _classifiers(classifier, seed):
        with warnings.catch_warnings():
            # A network that has not converged is stopped early, and weighted by its answers like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*_flat(known, shadow.erased, training))
        inputs, answers = _flat(known, shadow.erased, validation)
        loss = _log_loss(_log_odds(model, inputs), answers) * int(validation.sum())
        yield _Fitted(loss, name, _log_odds(model, asked.flatten(0, 1).numpy()))


def _flat(features: Tensor, erased: Tensor, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Inputs f32[m, F] and answers bool[m] of all candidates of some shadows."""
    return features[rows].flatten(0, 1).numpy(), erased[rows].flatten().numpy()


def _log_odds(model: Any, inputs: np.ndarray) -> np.ndarray:
    likely = np.clip(np.asarray(model.predict_proba(inputs)[:, 1], dtype=np.float64), SUREST, 1 - SUREST)
    return np.log(likely) - np.log1p(-likely)


def _log_loss(log_odds: np.ndarray, answers: np.ndarray) -> float:
    """Mean cross-entropy: unlike the AUC, it can compare classifiers even on a dozen shadows."""
    return float(np.logaddexp(0, np.where(answers, -log_odds, log_odds)).mean())


def _order(before: Tensor, values: Tensor) -> Tensor:
    return values.gather(-1, before.argsort(-1, descending=True))


def _features(name: str, updates: Updates, level: Level) -> Tensor:
    """Features f32[n, c, F] of the candidates."""
    before, after = updates.candidates_before, updates.candidates_after
    if name in _FEATURES:
        return _FEATURES[name](before, after)

    def own(statistics: Sequence[ChangeStatistic]) -> tuple[Tensor, Tensor]:
        first, second = (
            torch.stack([of_label(each, outputs, updates.candidate_labels, level) for each in statistics], -1)
            for outputs in (before, after)
        )
        return first.float(), (first - second).float()

    if name == "margin":
        return own(["margin"])[1]
    first, fall = own(["margin", "loss"])
    return first if name == "original_labelled" else torch.cat([first, fall], -1)


# Features f32[n, c, F] of outputs f32[n, c, D] before and after, without labels.
_FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "direct_difference": lambda before, after: after - before,
    "sorted_difference": lambda before, after: _order(before, after) - _order(before, before),
    "direct_concatenation": lambda before, after: torch.cat([before, after], -1),
    "sorted_concatenation": lambda before, after: torch.cat([_order(before, before), _order(before, after)], -1),
    "l2": lambda before, after: (after - before).square().sum(-1, keepdim=True).sqrt(),
    "original": lambda before, _: _order(before, before),  # the classical attack's
}
_LABELLED = ("margin", "labelled")
_PAIRED = [*(name for name in _FEATURES if name != "original"), *_LABELLED]


def _classifiers(name: str, seed: int) -> Iterator[Any]:
    """scikit-learn classifiers of one kind, from the plainest to the richest; inputs are standardised."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    match name:
        case "logistic":
            for strength in (0.001, 0.01, 0.1, 1.0, 10.0):
                yield LogisticRegression(C=strength, solver="newton-cholesky", max_iter=2_000)
        case "tree":
            for leaf in (30, 10, 3):
                yield DecisionTreeClassifier(min_samples_leaf=leaf, random_state=seed)
        case "mlp":
            for penalty in (10.0, 1.0):
                yield MLPClassifier((16,), solver="lbfgs", alpha=penalty, max_iter=50, random_state=seed)
        case "forest":
            yield RandomForestClassifier(n_estimators=25, min_samples_leaf=5, random_state=seed, n_jobs=1)
