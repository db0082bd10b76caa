"""Deletion inference: the record whose answer changed most was erased. No shadows, no training."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.change_statistics import ChangeStatistic, statistic, total_variation
from unlearnbench.adversary.update_features import traced
from unlearnbench.plugin import (
    Access,
    Attack,
    AttackView,
    Evidence,
    Images,
    Level,
    Measured,
    PluginParams,
    Scenario,
    Updates,
)

FALSE_ALARMS = 0.05  # share of the probe images that the threshold lets through


class DeletionInference(Attack):
    """Gao et al.'s attacks on deletion: they need the two models' answers, and nothing to compare them with.

    *Inference.* A candidate's score is what its answer lost, `uses`: the margin that fell, the loss that rose, the
    label's probability that fell, or, without its label, how far the answer moved. The threshold is exceeded by 5 % of
    the probe images, which the adversary knows were never erased; scores are not calibrated between targets.

    *Reconstruction* by nearest neighbour: where the answer changed lies the record, so the probe images whose answers
    moved most are the evidence for the erased images, with their labels. Where nothing moved by more than rounding, it
    is the adversary's mean image and most frequent class.

    *Compliance* (Garg et al.): what all others see should be the same as if the record had never been there.
    `compliance_change` is how far the answers about the probe images moved. Retraining moves them, too, by the seed:
    its value is what to compare with.
    """

    paper = (
        "Gao et al.: Deletion Inference, Reconstruction, and Compliance in Machine (Un)Learning, PoPETs 2022;"
        " Garg et al.: Formalizing Data Deletion in the Context of the Right to Be Forgotten, Eurocrypt 2020"
    )
    ranks_by = ("auc", "skill_mean", "label_accuracy")

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level of the outputs")
        temperature: float = Field(1, gt=0, description="a defence: outputs are softmax(logits / temperature)")
        uses: ChangeStatistic = Field(
            "margin", description="what a candidate's answer lost: margin, loss or posterior of its label; change: how"
            " far it moved, for which no label is needed"
        )  # fmt: skip

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, temperature=self.params.temperature)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "deletion inference needs a leak experiment"
        if self.params.observe == "representation" and self.params.uses != "change":
            return f"a representation has no {self.params.uses} of the label: uses change there"
        return None

    def run(self, view: AttackView) -> Evidence:
        target, probe, level = view.updates(), view.probe, self.params.observe
        before, after = target.probe_before.expand_as(target.probe_after), target.probe_after
        of_probes = statistic(self.params.uses, before, after, probe.labels, level)  # f64[T, P]
        of_candidates = statistic(
            self.params.uses, target.candidates_before, target.candidates_after, target.candidate_labels, level
        )
        moved = statistic("change", before, after, probe.labels, level)
        images, labels = _nearest(moved, view.erased_count, target, probe, view.auxiliary)
        metrics = {}
        if level != "representation":
            change = total_variation(before, after, level)
            metrics["compliance_change"] = Measured(float(change.mean()), change.numel())
        return Evidence(
            images=images,
            label_scores=F.one_hot(labels, view.classes).float(),
            membership=of_candidates,
            threshold=float(of_probes.flatten().quantile(1 - FALSE_ALARMS)),
            metrics=metrics,
        )


def _nearest(moved: Tensor, count: int, target: Updates, probe: Images, auxiliary: Images) -> tuple[Tensor, Tensor]:
    """The images f32[T, s, C, H, W] whose answers moved most, f64[T, P], and their labels i64[T, s]."""
    count_there = min(count, moved.shape[1])
    rows = moved.topk(count_there).indices
    rows = rows[:, torch.arange(count) % count_there]  # more erased images than probes: the first ones again
    known = traced(target)
    mean = auxiliary.scaled.mean(0)
    images = torch.where(known[:, None, None, None, None], probe.scaled[rows], mean)
    labels = torch.where(known[:, None], probe.labels[rows], auxiliary.labels.mode().values)
    return images, labels
