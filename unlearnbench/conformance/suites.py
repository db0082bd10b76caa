"""Which checks a plugin of each kind has, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearnbench.conformance import (
    attack_checks,
    dataset_checks,
    declaration,
    method_checks,
    outside_checks,
    repeatability,
    worker_checks,
)
from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import Case, Check
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.replicas_check import together_is_alone
from unlearnbench.registry.base import Kind

FINITE = Check("finite", repeatability.finite)
RUNS = "runs"  # the check without which there is nothing to look at

CASES: Mapping[Kind, type[Case]] = {"method": MethodCase, "attack": AttackCase, "dataset": DatasetCase}
CHECKS: Mapping[Kind, Sequence[Check]] = {
    "method": [
        *declaration.CHECKS, declaration.SKIP, *method_checks.BEFORE, FINITE, *method_checks.AFTER,
        *repeatability.CHECKS, Check("together_is_alone", together_is_alone), worker_checks.METHOD,
        *outside_checks.CHECKS,
    ],
    "attack": [
        *declaration.CHECKS, declaration.SKIP, attack_checks.ACCESS, *attack_checks.CHECKS, FINITE,
        *repeatability.CHECKS, worker_checks.ATTACK, *outside_checks.CHECKS,
    ],
    "dataset": [
        *declaration.CHECKS, *dataset_checks.CHECKS, dataset_checks.MISSING, *repeatability.CHECKS,
        worker_checks.DATASET, *outside_checks.CHECKS,
    ],
}  # fmt: skip
