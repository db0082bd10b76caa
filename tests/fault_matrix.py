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
        "a plugin that leaves its process changed, in 66 ways: torch's settings, modes and hooks, threads, the "
        "environment, functions of torch, numpy, Python or the harness that were replaced",
        "serial, loky, dask",
        "all is put back and its cells fail with what it changed; other plugins' numbers are those without it",
        (
            "test_process_state::test_what_is_left_changed_is_told_and_put_back",
            "test_process_state::test_whatever_was_changed_before_a_clean_plugin_computes_the_same",
            "test_process_state::test_a_polluter_of_each_kind_before_a_clean_plugin_changes_none_of_its_numbers",
            "test_process_state::test_every_polluter_before_a_clean_plugin_under_every_engine",
            "test_process_state::test_it_is_told_wherever_in_a_plugin_it_happens_and_a_finaliser_is_no_way_out",
            "test_process_state::test_with_blocks_lazy_imports_and_random_numbers_pass_and_reach_nobody",
        ),
    ),
    Fault(
        "a plugin that changes its process when it is imported, when it is let go, or after its stage",
        "serial",
        "broken, by name; one line, exit code 2; put back before the next stage",
        (
            "test_process_state::test_a_plugin_that_changes_the_process_when_it_is_imported_is_broken_alone",
            "test_process_state::test_a_module_that_a_plugin_imports_first_and_changes_is_imported_anew",
            "test_process_state::test_what_a_planned_plugin_does_in_its_end_stops_the_run",
            "test_process_state::test_what_changes_between_two_stages_is_put_back_before_the_next",
            "test_process_state::test_what_cannot_be_put_back_ends_the_work_of_this_process",
        ),
    ),
    Fault(
        "a plugin that writes into images that its process keeps for all cells",
        "serial",
        "its cells fail; the images are loaded again",
        ("test_process_state::test_images_that_a_plugin_has_written_into_reach_no_other",),
    ),
    Fault(
        "helper modules of one name beside two plugins",
        "-",
        "each plugin has its own",
        ("test_process_state::test_modules_beside_two_plugins_may_have_one_name",),
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
