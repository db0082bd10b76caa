"""Membership: was this image erased? Judged by the model's outputs on it before and after unlearning."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

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


class Membership(Attack):
    """UnlearningLeaks (Chen et al., section 3): a classifier on features of the outputs before and after.

    It is trained on shadow erasures, on the erased images against never-seen ones of the same classes, and scored on
    the targets' erased images against never-seen ones of the same classes, none of which the adversary knew. `sorted`
    features sort both outputs by the one before. `best` features and classifiers, and the penalties of every
    classifier, are those that best tell the validation shadows' images apart: with few shadows a rich classifier learns
    them by heart.

    The baseline is the classical attack on a single model: the same classifier, fitted to the same shadows, on the
    sorted output of the original alone. Defences are part of what is observed, so they apply to it, too.
    """

    paper = "Chen et al.: When Machine Unlearning Jeopardizes Privacy, CCS 2021"
    ranks_by = ("auc",)
    version = 2

    class Params(PluginParams):
        observe: Level = Field(
            "log_probabilities", description="observation level of the outputs; top_k and label are defences"
        )
        temperature: float = Field(1, gt=0, description="a defence: outputs are softmax(logits / temperature)")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        tier: Tier = Field("same", description="the models that shadows start from: see Access")
        shadow_models: int = Field(8, ge=8, description="originals of the adversary's own, tier `disjoint` only")
        features: Literal[
            "best", "direct_difference", "sorted_difference", "direct_concatenation", "sorted_concatenation", "l2"
        ] = Field("best", description="how the outputs before and after are combined")
        classifier: Literal["best", "logistic", "tree", "forest", "mlp"] = Field(
            "logistic", description="scikit-learn classifier; best: chosen on the features that suit `logistic`"
        )

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
        return None

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        seed = view.torch_seed("classifier") % 2**32
        features = _PAIRED if self.params.features == "best" else [self.params.features]
        return Evidence(
            membership=_infer(shadow, target, features, self.params.classifier, seed),
            threshold=0.5,
            baseline=_infer(shadow, target, ["original"], self.params.classifier, seed),
        )


class _Fitted(NamedTuple):
    """A classifier, and the inputs that it is applied to."""

    error: float  # on the validation shadows
    features: str
    model: Any
    asked: Tensor  # f32[T, c, F], of the targets


def _infer(shadow: ShadowUpdates, target: Updates, features: Sequence[str], classifier: str, seed: int) -> Tensor:
    """Probabilities f64[T, c] by the features and the classifier with the lowest error on the validation shadows."""
    first, *others = ["logistic", "tree", "mlp", "forest"] if classifier == "best" else [classifier]
    # Not every pair: forests alone would take half a second on five kinds of features.
    found = _best(fit for name in features for fit in _fit(shadow, target, name, first, seed))
    rest = (fit for name in others for fit in _fit(shadow, target, found.features, name, seed))
    found = _best([found, *rest])
    likely = np.asarray(found.model.predict_proba(found.asked.flatten(0, 1).numpy())[:, 1], dtype=np.float64)
    return torch.from_numpy(likely).view(found.asked.shape[:2])


def _best(fits: Iterable[_Fitted]) -> _Fitted:
    return min(fits, key=lambda fitted: fitted.error)


def _fit(shadow: ShadowUpdates, target: Updates, name: str, classifier: str, seed: int) -> Iterator[_Fitted]:
    """One kind of classifier on one kind of features, fitted with each of its penalties."""
    from sklearn.exceptions import ConvergenceWarning

    known = _FEATURES[name](shadow.updates.candidates_before, shadow.updates.candidates_after)
    asked = _FEATURES[name](target.candidates_before, target.candidates_after)
    training, validation = ~shadow.validation, shadow.validation
    if not bool(training.any() and validation.any()):
        training = validation = torch.ones_like(shadow.validation)
    centre, scale = known[training].mean((0, 1)), known[training].std((0, 1))
    scale = torch.where(scale > 0, scale, 1.0)
    known, asked = (known - centre) / scale, (asked - centre) / scale
    for model in _classifiers(classifier, seed):
        with warnings.catch_warnings():
            # A network that has not converged is stopped early, and judged on the validation shadows like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*_flat(known, shadow.erased, training))
        inputs, answers = _flat(known, shadow.erased, validation)
        yield _Fitted(_log_loss(model.predict_proba(inputs)[:, 1], answers), name, model, asked)


def _flat(features: Tensor, erased: Tensor, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Inputs f32[m, F] and answers bool[m] of all candidates of some shadows."""
    return features[rows].flatten(0, 1).numpy(), erased[rows].flatten().numpy()


def _log_loss(likely: np.ndarray, answers: np.ndarray) -> float:
    """Mean cross-entropy: unlike the AUC, it can compare classifiers even on a dozen shadows."""
    right = np.clip(np.where(answers, likely, 1 - likely), 1e-6, 1)
    return float(-np.log(right).mean())


def _order(before: Tensor, values: Tensor) -> Tensor:
    return values.gather(-1, before.argsort(-1, descending=True))


# Features f32[n, c, F] of outputs f32[n, c, D] before and after.
_FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "direct_difference": lambda before, after: after - before,
    "sorted_difference": lambda before, after: _order(before, after) - _order(before, before),
    "direct_concatenation": lambda before, after: torch.cat([before, after], -1),
    "sorted_concatenation": lambda before, after: torch.cat([_order(before, before), _order(before, after)], -1),
    "l2": lambda before, after: (after - before).square().sum(-1, keepdim=True).sqrt(),
    "original": lambda before, _: _order(before, before),  # the classical attack's
}
_PAIRED = [name for name in _FEATURES if name != "original"]


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
