"""Which fault is injected where, what comes of it, and the tests that show it: docs/reliability.md is made from this.

.venv/bin/python tests/fault_matrix.py    writes the table into docs/reliability.md
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: made by tests/fault_matrix.py -->\n", "<!-- end of faults -->\n"


@dataclass(frozen=True)
class Fault:
    """One row: a fault, the engines it was injected under, what comes of it, and tests as `file::name`."""

    what: str
    engines: str
    outcome: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "kill -9 of the run, 20 random moments",
        "serial, loky",
        "the next run goes on; records equal an undisturbed run's",
        ("test_kills::test_a_run_killed_at_twenty_random_moments_loses_and_doubles_nothing",),
    ),
    Fault(
        "Ctrl-C",
        "serial, loky",
        "exit code 130; what is finished is kept, a leaderboard of it is built, no worker is left",
        ("test_engine::test_ctrl_c_keeps_what_is_finished",),
    ),
    Fault(
        "kill -9 of a worker",
        "loky",
        "what its pool worked on starts again; a job that was alone is tried three times",
        ("test_engine::test_a_killed_run_goes_on_to_the_same_numbers",),
    ),
    Fault(
        "kill -9 of a worker",
        "dask",
        "only its own job starts again",
        ("test_dask::test_a_killed_worker_costs_nothing_but_time",),
    ),
    Fault(
        "kill -9 of the scheduler",
        "dask",
        "of this machine's own cluster: a new one; of another: one line, and the next run goes on",
        ("test_dask::test_a_killed_scheduler_ends_the_run_with_one_line_and_the_next_goes_on",),
    ),
    Fault(
        "no scheduler at the address",
        "dask",
        "one line, exit code 2",
        ("test_dask::test_a_scheduler_that_is_not_there_is_one_line",),
    ),
    Fault(
        "a worker that does not see the store",
        "dask",
        "artifacts travel with jobs and results; same numbers",
        (
            "test_dask::test_artifacts_travel_where_the_store_is_not_shared",
            "test_dask::test_parcels_are_packed_where_needed_and_what_was_damaged_on_its_way_is_missing",
        ),
    ),
    Fault(
        "a worker with other data, plugins or version",
        "dask",
        "its cells fail and say on which host",
        ("test_dask::test_a_machine_with_other_data_plugins_or_versions_refuses_the_job",),
    ),
    Fault(
        "a plugin that raises, returns NaN or wrong shapes, changes its input, or exits",
        "serial, loky",
        "its cells fail with the error; others go on; `--retry-failed` tries again",
        (
            "test_runner::test_a_failing_plugin_fails_its_own_cells_with_a_clear_error",
            "test_runner::test_a_plugin_that_breaks_while_it_is_asked_fails_its_own_cells",
            "test_runner::test_failed_cells_are_tried_again_when_asked",
            "test_stages::test_a_method_that_breaks_the_contract_fails_with_what_it_did",
        ),
    ),
    Fault(
        "a plugin that ends its process every time",
        "loky",
        "its cells fail after three attempts, alone; others go on",
        ("test_engine::test_a_killed_run_goes_on_to_the_same_numbers",),
    ),
    Fault(
        "an attack that looks for the truth in its process, or opens the store",
        "all",
        "there is no truth in it; the cell fails, also if the attack hides that",
        (
            "test_isolation::test_no_truth_and_no_model_is_within_an_attacks_reach",
            "test_isolation::test_an_attack_that_opens_the_store_fails_also_if_it_hides_that",
        ),
    ),
    Fault(
        "an attack that ends its process, writes into its channel, or leaves others running",
        "all",
        "its cell fails at once; the worker goes on, and what the attack started ends",
        (
            "test_isolation::test_an_attack_that_ends_its_process_fails_alone",
            "test_isolation::test_what_is_written_past_the_view_is_no_evidence",
            "test_isolation::test_what_an_attack_has_started_ends_with_it",
        ),
    ),
    Fault(
        "kill -9 of the harness in the middle of an attack, or of the process that attacks are forked from",
        "all",
        "no process is left; the next attack has a new one",
        (
            "test_isolation::test_no_process_outlives_the_harness",
            "test_isolation::test_the_process_that_attacks_are_forked_from_may_be_killed",
        ),
    ),
    Fault(
        "a plugin that hangs",
        "serial, loky, dask",
        "status `timeout` after `--time-limit`; others complete",
        (
            "test_time_limits::test_what_hangs_times_out_and_others_complete",
            "test_time_limits::test_work_in_this_process_is_interrupted_and_what_is_in_time_is_not",
        ),
    ),
    Fault(
        "memory runs out in a stage",
        "serial",
        "half the models at a time, under another key; one model that does not fit fails",
        (
            "test_halving::test_a_cell_goes_on_with_half_the_models",
            "test_halving::test_one_model_that_does_not_fit_fails",
        ),
    ),
    Fault(
        "a damaged or truncated artifact",
        "serial",
        "found by its checksum, computed again, reported",
        ("test_runner::test_damaged_artifacts_are_found_and_computed_again",),
    ),
    Fault(
        "a damaged or truncated record",
        "serial",
        "found by its seal, computed again or set apart, reported",
        ("test_runner::test_damaged_records_are_computed_again_or_set_apart",),
    ),
    Fault(
        "changed plugin code",
        "serial",
        "other keys; old records are kept apart, and said so",
        ("test_runner::test_records_of_other_code_are_kept_apart_and_those_of_other_cells_stay",),
    ),
    Fault(
        "a full disk, at eight different writes",
        "serial",
        "one line, exit code 2; what was there is whole, the next run goes on",
        ("test_faults_disk::test_a_full_disk_ends_a_run_which_then_goes_on",),
    ),
    Fault(
        "results or store that can't be written",
        "serial",
        "one line, exit code 2",
        ("test_faults_disk::test_a_folder_that_can_not_be_written_is_one_line",),
    ),
    Fault(
        "two runs at once on one store and one result folder",
        "serial",
        "the records of one run",
        ("test_faults_disk::test_two_runs_at_once_leave_what_one_would_have_left",),
    ),
    Fault(
        "a clock that goes backwards",
        "serial",
        "nothing but times differs; the leaderboard is built again",
        (
            "test_faults_disk::test_a_clock_that_goes_backwards_changes_nothing_but_times",
            "test_faults_disk::test_a_leaderboard_from_the_future_is_built_again",
        ),
    ),
    Fault(
        "changed data; a plugin that changes while its run waits",
        "serial",
        "other keys; old records are set apart; never mixed",
        (
            "test_faults_disk::test_changed_data_is_computed_again_and_old_records_are_set_apart",
            "test_faults_disk::test_a_plugin_that_changes_while_its_run_waits_is_never_mixed",
        ),
    ),
    Fault(
        "records and artifacts with any bytes changed (fuzzed)",
        "-",
        "what was written, or refused by name",
        ("test_fuzz_records::test_damaged_files_are_what_was_written_or_refused",),
    ),
    Fault(
        "damaged data files, a scenario that does not fit the data",
        "all",
        "one line, exit code 2, nothing written",
        (
            "test_lookup::test_damaged_data_is_bad_input_and_no_failed_cell",
            "test_lookup::test_a_scenario_that_does_not_fit_the_data_is_bad_input",
            "test_runner::test_nothing_is_written_where_input_is_bad",
        ),
    ),
    Fault(
        "a malformed suite",
        "all",
        "one line, exit code 2, nothing written",
        ("test_malformed_suites::test_a_malformed_suite_is_one_line",),
    ),
    Fault(
        "a plugin that prints, writes, patches or kills to be told that it keeps `check`'s rules",
        "check",
        "the rule that it breaks does not pass, and `check` fails",
        ("conformance/test_hostile_plugins::test_no_attack_on_check_makes_a_broken_plugin_pass",),
    ),
    Fault(
        "a plugin that leaves processes running, detached from its own",
        "check",
        "they are counted in `no_processes`, and ended",
        ("conformance/test_hostile_plugins::test_what_goes_on_running_is_named_and_ended",),
    ),
)


def table() -> str:
    """The matrix as Markdown."""
    lines = ["| fault | engine | outcome | tests |", "| :--- | :--- | :--- | :--- |"]
    for fault in FAULTS:
        names = ", ".join(
            f"`{name.split('::')[0]}`" for name in dict.fromkeys(test.split("::")[0] for test in fault.tests)
        )
        lines.append(f"| {fault.what} | {fault.engines} | {fault.outcome} | {names} |")
    return "\n".join(lines) + "\n"


def missing() -> list[str]:
    """Tests that the matrix names and that are not there."""
    return [test for fault in FAULTS for test in fault.tests if not _is_there(test)]


def with_table(page: str) -> str:
    """The page with the matrix as it is now."""
    made = BEGIN + table() + END
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: made, page, flags=re.DOTALL)


def _is_there(test: str) -> bool:
    file, name = test.split("::")
    path = TESTS / f"{file}.py"
    if not path.is_file():
        return False
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(ast.parse(path.read_text()))
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
