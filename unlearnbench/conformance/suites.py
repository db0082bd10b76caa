"""Which rules a plugin of each kind has to keep, in the order in which they are examined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearnbench.conformance import (
    attack_checks,
    dataset_checks,
    declaration,
    method_checks,
    model_checks,
    outside_checks,
    repeatability,
)
from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import Case, PluginRule
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.model_case import ModelCase
from unlearnbench.registry.base import Kind

RUNS = "runs"  # the rule without which there is nothing to look at

_DECLARATION = [
    PluginRule("documented", declaration.documented, runs=False),
    PluginRule("source_named", declaration.sourced, runs=False),
    PluginRule("parameters_described", declaration.parameters_described, runs=False),
    PluginRule("parameters_round_trip", declaration.parameters_round_trip, runs=False),
    PluginRule("parameters_frozen", declaration.parameters_frozen, runs=False),
]
_SKIP = PluginRule("skip", declaration.skips_in_words, runs=False)
_FINITE = PluginRule("finite", repeatability.finite)
_REPEATABILITY = [
    PluginRule("deterministic", repeatability.deterministic),
    PluginRule("ignores_global_random_state", repeatability.ignores_global_streams),
    PluginRule("leaves_global_random_state", repeatability.leaves_global_streams),
]
# Examined also where the plugin does not run: what was refused is often the reason.
_OUTSIDE = [
    PluginRule("no_network", outside_checks.no_network, runs=False),
    PluginRule("no_writes", outside_checks.no_writes, runs=False),
    PluginRule("no_programs", outside_checks.no_programs, runs=False),
    PluginRule("process_state", outside_checks.process_state, runs=False),
]

CASES: Mapping[Kind, type[Case]] = {
    "method": MethodCase, "attack": AttackCase, "dataset": DatasetCase, "model": ModelCase
}  # fmt: skip
RULES: Mapping[Kind, Sequence[PluginRule]] = {
    "method": [
        *_DECLARATION,
        _SKIP,
        PluginRule(RUNS, method_checks.unlearns),
        PluginRule("shapes", method_checks.shapes),
        _FINITE,
        PluginRule("model_untouched", method_checks.model_untouched),
        PluginRule("data_untouched", method_checks.data_untouched),
        PluginRule("seed", method_checks.uses_its_seed),
        *_REPEATABILITY,
        PluginRule("together_is_alone", method_checks.together_is_alone),
        PluginRule("worker_process", repeatability.method_in_worker),
        *_OUTSIDE,
    ],
    "attack": [
        *_DECLARATION,
        _SKIP,
        PluginRule("access", attack_checks.declares_access, runs=False),
        PluginRule(RUNS, attack_checks.attacks),
        PluginRule("evidence", attack_checks.evidence_fits),
        PluginRule("nothing_changed", attack_checks.survives_nothing),
        _FINITE,
        *_REPEATABILITY,
        PluginRule("worker_process", repeatability.in_worker),
        *_OUTSIDE,
    ],
    "dataset": [
        *_DECLARATION,
        PluginRule(RUNS, dataset_checks.loads),
        PluginRule("files", dataset_checks.lists_files),
        PluginRule("pixels", dataset_checks.pixels_are_bytes),
        PluginRule("labels", dataset_checks.labels_are_classes),
        PluginRule("image_counts", dataset_checks.counts_its_images),
        PluginRule("groups", dataset_checks.groups_fit),
        PluginRule("ids", dataset_checks.ids_are_in_order),
        PluginRule("missing_files", dataset_checks.misses_files_in_words, runs=False),
        *_REPEATABILITY,
        PluginRule("worker_process", repeatability.in_worker),
        *_OUTSIDE,
    ],
    "model": [
        *_DECLARATION,
        _SKIP,
        PluginRule(RUNS, model_checks.builds),
        PluginRule("each_image_alone", model_checks.each_image_alone),
        PluginRule("capabilities", model_checks.has_what_it_declares),
        PluginRule("seed", model_checks.initialised_by_seed),
        PluginRule("copies", model_checks.copies),
        PluginRule("moves", model_checks.moves),
        _FINITE,
        *_REPEATABILITY,
        PluginRule("together_is_alone", model_checks.together_is_alone),
        PluginRule("worker_process", repeatability.in_worker),
        *_OUTSIDE,
    ],
}
