"""Membership: was this image erased? From the model's outputs on it before and after unlearning."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Access, Attack, Evidence
from unlearnbench.settings import Level, PluginParams, Scenario
from unlearnbench.view import AttackView


class Membership(Attack):
    """UnlearningLeaks (Chen et al., section 3): a classifier on features of the outputs before and after.

    Trained on shadow erasures: the erased images against never-seen ones of the same classes; scored on the targets'
    erased images against never-seen ones of the same classes, none of which the adversary knew. `sorted` features
    order both outputs by the one before. `best` takes the features, and any logistic classifier its penalty, that tell
    the validation shadows' images apart best: with few shadows a rich classifier learns the shadows by heart.
    """

    paper = "Chen et al.: When Machine Unlearning Jeopardizes Privacy, CCS 2021"

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level of the outputs")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        features: Literal[
            "best", "direct_difference", "sorted_difference", "direct_concatenation", "sorted_concatenation", "l2"
        ] = Field("best", description="how the outputs before and after are put together")
        classifier: Literal["logistic", "forest"] = Field("logistic", description="scikit-learn classifier")

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, shadows=self.params.shadows)

    def skip(self, scenario: Scenario) -> str | None:
        return None if scenario.kind == "leak" else "membership needs a leak experiment"

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        seed = view.torch_seed("classifier") % 2**32
        training, validation = ~shadow.validation, shadow.validation
        if not bool(training.any() and validation.any()):
            training = validation = torch.ones_like(shadow.validation)
        lowest, likely = float("inf"), torch.full(target.candidate_labels.shape, 0.5)
        for name in _FEATURES if self.params.features == "best" else [self.params.features]:
            known = _FEATURES[name](shadow.updates.candidates_before, shadow.updates.candidates_after)
            asked = _FEATURES[name](target.candidates_before, target.candidates_after)
            for classifier in _classifiers(self.params.classifier, seed):
                classifier.fit(*_flat(known, shadow.erased, training))
                inputs, answers = _flat(known, shadow.erased, validation)
                error = _log_loss(classifier.predict_proba(inputs)[:, 1], answers)
                if error < lowest:
                    lowest = error
                    scores = classifier.predict_proba(asked.flatten(0, 1).numpy())[:, 1]
                    likely = torch.from_numpy(np.asarray(scores)).view(asked.shape[:2])
        return Evidence(membership=likely, threshold=0.5)


def _flat(features: Tensor, erased: Tensor, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Inputs f32[m, F] and answers bool[m] of all candidates of some shadows."""
    return features[rows].flatten(0, 1).numpy(), erased[rows].flatten().numpy()


def _log_loss(likely: np.ndarray, answers: np.ndarray) -> float:
    """Mean cross-entropy: unlike an AUC it still tells classifiers apart on a dozen shadows."""
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
}


def _classifiers(name: str, seed: int) -> Iterator[Any]:
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        yield RandomForestClassifier(n_estimators=200, min_samples_leaf=2, random_state=seed, n_jobs=1)
        return
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for strength in (0.001, 0.01, 0.1, 1.0, 10.0):
        yield make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2_000, random_state=seed))
