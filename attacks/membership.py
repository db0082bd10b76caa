"""Membership: was this image erased? From the model's outputs on it before and after unlearning."""

from collections.abc import Callable
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
    order both outputs by the one before.
    """

    paper = "Chen et al.: When Machine Unlearning Jeopardizes Privacy, CCS 2021"

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level of the outputs")
        shadows: int = Field(64, ge=10, description="shadow erasures")
        features: Literal[
            "direct_difference", "sorted_difference", "direct_concatenation", "sorted_concatenation", "l2"
        ] = Field("sorted_concatenation", description="how the outputs before and after are put together")
        classifier: Literal["logistic", "forest"] = Field("logistic", description="scikit-learn classifier")

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, shadows=self.params.shadows)

    def skip(self, scenario: Scenario) -> str | None:
        return None if scenario.kind == "leak" else "membership needs a leak experiment"

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        features = _FEATURES[self.params.features]
        inputs = features(shadow.updates.candidates_before, shadow.updates.candidates_after).flatten(0, 1).numpy()
        classifier = _classifier(self.params.classifier, view.torch_seed("classifier") % 2**32)
        classifier.fit(inputs, shadow.erased.flatten().numpy())
        asked = features(target.candidates_before, target.candidates_after)
        likely = classifier.predict_proba(asked.flatten(0, 1).numpy())[:, 1]
        return Evidence(membership=torch.from_numpy(np.asarray(likely)).view(asked.shape[:2]))


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


def _classifier(name: str, seed: int) -> Any:
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=200, min_samples_leaf=2, random_state=seed, n_jobs=1)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000, random_state=seed))
