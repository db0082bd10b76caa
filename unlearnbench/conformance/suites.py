"""Which rules a plugin of each kind has to keep, in the order in which they are examined."""

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
from unlearnbench.conformance.case import Case, Rule
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.replicas_check import together_is_alone
from unlearnbench.registry.base import Kind

RUNS = "runs"  # the rule without which there is nothing to look at

_DECLARATION = [
    Rule("documented", declaration.documented, runs=False),
    Rule("source_named", declaration.sourced, runs=False),
    Rule("parameters_described", declaration.parameters_described, runs=False),
    Rule("parameters_round_trip", declaration.parameters_round_trip, runs=False),
    Rule("parameters_frozen", declaration.parameters_frozen, runs=False),
]
_SKIP = Rule("skip", declaration.skips_in_words, runs=False)
_FINITE = Rule("finite", repeatability.finite)
_REPEATABILITY = [
    Rule("deterministic", repeatability.deterministic),
    Rule("ignores_global_random_state", repeatability.ignores_global_streams),
    Rule("leaves_global_random_state", repeatability.leaves_global_streams),
]
# Examined also where the plugin does not run: what was refused is often the reason.
_OUTSIDE = [
    Rule("no_network", outside_checks.no_network, runs=False),
    Rule("no_writes", outside_checks.no_writes, runs=False),
    Rule("no_programs", outside_checks.no_programs, runs=False),
    Rule("process_state", outside_checks.process_state, runs=False),
]

CASES: Mapping[Kind, type[Case]] = {"method": MethodCase, "attack": AttackCase, "dataset": DatasetCase}
RULES: Mapping[Kind, Sequence[Rule]] = {
    "method": [
        *_DECLARATION,
        _SKIP,
        Rule(RUNS, method_checks.unlearns),
        Rule("shapes", method_checks.shapes),
        _FINITE,
        Rule("model_untouched", method_checks.model_untouched),
        Rule("data_untouched", method_checks.data_untouched),
        Rule("seed", method_checks.uses_its_seed),
        *_REPEATABILITY,
        Rule("together_is_alone", together_is_alone),
        Rule("worker_process", worker_checks.method_in_worker),
        *_OUTSIDE,
    ],
    "attack": [
        *_DECLARATION,
        _SKIP,
        Rule("access", attack_checks.declares_access, runs=False),
        Rule(RUNS, attack_checks.attacks),
        Rule("evidence", attack_checks.evidence_fits),
        Rule("nothing_changed", attack_checks.survives_nothing),
        _FINITE,
        *_REPEATABILITY,
        Rule("worker_process", worker_checks.in_worker),
        *_OUTSIDE,
    ],
    "dataset": [
        *_DECLARATION,
        Rule(RUNS, dataset_checks.loads),
        Rule("files", dataset_checks.lists_files),
        Rule("pixels", dataset_checks.pixels_are_bytes),
        Rule("labels", dataset_checks.labels_are_classes),
        Rule("ids", dataset_checks.ids_are_in_order),
        Rule("missing_files", dataset_checks.misses_files_in_words, runs=False),
        *_REPEATABILITY,
        Rule("worker_process", worker_checks.in_worker),
        *_OUTSIDE,
    ],
}
