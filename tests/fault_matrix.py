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
        "kill -9 of the run, at 20 random moments",
        "serial, loky",
        "the next run continues; its records equal those of an undisturbed run",
        ("running/test_kills::test_a_run_killed_at_twenty_random_moments_loses_and_doubles_nothing",),
    ),
    Fault(
        "kill -9 in the middle of a long training or erasure, at random moments",
        "serial, loky",
        "it goes on from its last checkpoint; its artifact equals that of an undisturbed run, bit for bit",
        (
            "running/test_kills::test_a_training_killed_at_random_moments_goes_on_to_the_same_bits",
            "stages/test_resumption::test_every_stage_that_is_killed_ends_with_the_same_artifact",
            "training/test_checkpoints::test_replicas_that_the_stop_rule_took_out_stay_out",
        ),
    ),
    Fault(
        "a damaged or truncated checkpoint",
        "all",
        "found by its checksum, reported; that part of the stage starts again",
        ("stages/test_resumption::test_a_damaged_checkpoint_is_reported_and_the_work_starts_again",),
    ),
    Fault(
        "a checkpoint by other code, torch, numpy, hardware or number of threads, or of other inputs",
        "all",
        "is not used",
        (
            "stages/test_resumption::test_a_checkpoint_by_other_code_versions_or_hardware_is_not_used",
            "training/test_checkpoints::test_what_was_made_from_other_inputs_is_not_used",
        ),
    ),
    Fault(
        "a full or read-only disk, or no memory, for a checkpoint",
        "all",
        "one line; the stage goes on without checkpoints",
        (
            "stages/test_resumption::test_a_full_disk_or_one_that_is_read_only_costs_the_checkpoints_and_nothing_else",
            "stages/test_resumption::test_no_memory_for_a_checkpoint_is_no_failure",
        ),
    ),
    Fault(
        "kill -9 of a worker",
        "loky",
        "what its pool was working on starts again; a job that runs alone is tried three times",
        ("running/test_engine::test_a_killed_run_goes_on_to_the_same_numbers",),
    ),
    Fault(
        "kill -9 of a worker",
        "dask",
        "only its own job starts again",
        ("running/test_dask::test_a_killed_worker_costs_nothing_but_time",),
    ),
    Fault(
        "kill -9 of the scheduler",
        "dask",
        "in the run's own cluster: a new one; in another: one line, and the next run continues",
        ("running/test_dask::test_a_killed_scheduler_ends_the_run_with_one_line_and_the_next_goes_on",),
    ),
    Fault(
        "no scheduler at the address",
        "dask",
        "one line, exit code 2",
        ("running/test_dask::test_a_scheduler_that_is_not_there_is_one_line",),
    ),
    Fault(
        "a worker that does not see the store",
        "dask",
        "its jobs fail with what to do: share the store, or run parts and merge",
        (
            "running/test_dask::test_a_worker_that_does_not_see_the_store_does_no_work",
            "running/test_dask::test_a_store_is_known_by_its_mark",
        ),
    ),
    Fault(
        "a run in which every cell fails",
        "-",
        "a leaderboard, every format and the site say so",
        ("report/test_report_verb::test_a_run_of_which_every_cell_failed_is_reported",),
    ),
    Fault(
        "a plugin that raises, returns NaN or wrong shapes, changes its input, or exits",
        "serial, loky",
        "its cells fail with the error; others continue; `--retry-failed` tries again",
        (
            "running/test_runner::test_a_failing_plugin_fails_its_own_cells_with_a_clear_error",
            "running/test_runner::test_a_plugin_that_breaks_while_it_is_asked_fails_its_own_cells",
            "running/test_runner::test_failed_cells_are_tried_again_when_asked",
            "stages/test_result_checks::test_a_method_that_breaks_the_contract_fails_with_what_it_did",
        ),
    ),
    Fault(
        "a plugin that ends its process every time",
        "loky",
        "only its cells fail, after three attempts; others continue",
        ("running/test_engine::test_a_killed_run_goes_on_to_the_same_numbers",),
    ),
    Fault(
        "a plugin that hangs",
        "serial, loky, dask",
        "status `timeout` after `--time-limit`; others complete",
        (
            "running/test_time_limits::test_what_hangs_times_out_and_others_complete",
            "running/test_time_limits::test_work_in_this_process_is_interrupted_and_what_is_in_time_is_not",
        ),
    ),
    Fault(
        "memory runs out in a stage",
        "serial",
        "half the models at a time, under another key; one model that does not fit fails",
        (
            "running/test_halving::test_a_cell_goes_on_with_half_the_models",
            "running/test_halving::test_one_model_that_does_not_fit_fails",
        ),
    ),
    Fault(
        "a damaged or truncated artifact",
        "serial",
        "found by its checksum, computed again, reported",
        ("running/test_runner::test_damaged_artifacts_are_found_and_computed_again",),
    ),
    Fault(
        "a damaged or truncated record",
        "serial",
        "found by its seal, computed again or set apart, reported",
        ("running/test_runner::test_damaged_records_are_computed_again_or_set_apart",),
    ),
    Fault(
        "changed plugin code",
        "serial",
        "other keys; old records are set apart, and the run says so",
        ("running/test_runner::test_records_of_other_code_are_kept_apart_and_those_of_other_cells_stay",),
    ),
    Fault(
        "a full disk, at eight different writes",
        "serial",
        "one line, exit code 2; what was there is whole, and the next run continues",
        ("cli/test_faults_disk::test_a_full_disk_ends_a_run_which_then_goes_on",),
    ),
    Fault(
        "results or store that can't be written",
        "serial",
        "one line, exit code 2",
        ("cli/test_faults_disk::test_a_folder_that_can_not_be_written_is_one_line",),
    ),
    Fault(
        "two runs at once on one store and one result folder",
        "serial",
        "the records of one run",
        ("cli/test_faults_disk::test_two_runs_at_once_leave_what_one_would_have_left",),
    ),
    Fault(
        "a clock that goes backwards",
        "serial",
        "only times differ; the leaderboard is built again",
        (
            "cli/test_faults_disk::test_a_clock_that_goes_backwards_changes_nothing_but_times",
            "cli/test_faults_disk::test_a_leaderboard_from_the_future_is_built_again",
        ),
    ),
    Fault(
        "changed data; a plugin that changes while its run waits",
        "serial",
        "other keys; old records are set apart; never mixed",
        (
            "cli/test_faults_disk::test_changed_data_is_computed_again_and_old_records_are_set_apart",
            "cli/test_faults_disk::test_a_plugin_that_changes_while_its_run_waits_is_never_mixed",
        ),
    ),
    Fault(
        "records and artifacts with any bytes changed (fuzzed)",
        "-",
        "what was written, or refused by name",
        ("records/test_fuzz_records::test_damaged_files_are_what_was_written_or_refused",),
    ),
    Fault(
        "damaged data files, a scenario that does not fit the data",
        "all",
        "one line, exit code 2, nothing written",
        (
            "suite/test_plan_errors::test_damaged_data_is_bad_input_and_no_failed_cell",
            "suite/test_plan_errors::test_a_scenario_that_does_not_fit_the_data_is_bad_input",
            "running/test_runner::test_nothing_is_written_where_input_is_bad",
        ),
    ),
    Fault(
        "a malformed suite",
        "all",
        "one line, exit code 2, nothing written",
        ("suite/test_malformed_suites::test_a_malformed_suite_is_one_line",),
    ),
    Fault(
        "an attack that looks for the truth in its process, or opens the store",
        "all",
        "there is no truth in it; the cell fails, even if the attack hides the attempt",
        (
            "stages/test_isolation::test_no_truth_and_no_model_is_within_an_attacks_reach",
            "stages/test_isolation::test_an_attack_that_opens_the_store_fails_also_if_it_hides_that",
            "stages/test_isolation::test_the_kernel_refuses_the_store_whatever_code_asks",
        ),
    ),
    Fault(
        "an attack that ends its process, writes into its channel, or leaves others running",
        "all",
        "its cell fails at once; the worker continues, and what the attack started ends",
        (
            "stages/test_isolation::test_an_attack_that_ends_its_process_fails_alone",
            "stages/test_isolation::test_what_is_written_past_the_view_is_no_evidence",
            "stages/test_isolation::test_what_an_attack_has_started_ends_with_it",
            "stages/test_isolation::test_what_an_attack_has_detached_ends_with_it",
        ),
    ),
    Fault(
        "kill -9 of the harness in the middle of an attack; an attack that kills or stops other processes",
        "all",
        "no process is left; the next attack gets a new one",
        (
            "stages/test_isolation::test_no_process_outlives_the_harness",
            "stages/test_isolation::test_the_process_that_attacks_are_forked_from_may_be_killed",
            "stages/test_isolation::test_whoever_ends_or_stops_what_attacks_are_forked_from_in_the_middle_of_one",
            "stages/test_isolation::test_an_attack_signals_no_process_but_its_own",
        ),
    ),
    Fault(
        "the user's matplotlib settings (backend, file, LaTeX, a folder that can't be written); a picture that fails",
        "all",
        "the same pictures, or a line that one is missing; leaderboard and exit code are unchanged",
        (
            "report/test_drawing::test_no_setting_of_the_users_changes_or_stops_a_picture",
            "report/test_drawing::test_settings_that_stop_matplotlib_stop_nothing_else",
            "cli/test_pictures_owed::test_a_picture_that_fails_costs_no_result",
        ),
    ),
    Fault(
        "a run killed before it drew",
        "all",
        "the next run draws what is missing",
        (
            "cli/test_pictures_owed::test_a_run_that_goes_on_draws_what_an_undisturbed_one_has",
            "report/test_pictures::test_a_picture_is_drawn_when_it_lacks_an_answer_that_is_there",
            "report/test_pictures::test_what_was_drawn_outlives_the_store",
        ),
    ),
    Fault(
        "`publish` into a folder with a repository, notes, edited files, links, or a tampered list of files",
        "-",
        "what `publish` did not write stays; if something is in its way, one line, exit code 2, nothing changed",
        (
            "site/test_sharing::test_a_site_is_replaced_and_all_else_stays",
            "site/test_sharing::test_a_file_that_was_edited_is_never_lost",
            "site/test_sharing::test_links_are_not_followed",
            "site/test_sharing::test_a_tampered_manifest_is_no_manifest",
            "site/test_sharing::test_a_folder_that_is_read_takes_no_site",
        ),
    ),
    Fault(
        "`publish` dies at any step, or twice",
        "-",
        "no file is half-written, no file of the user is lost, the next `publish` continues",
        ("site/test_sharing::test_after_a_crash_at_any_step_the_next_publish_goes_on",),
    ),
    Fault(
        "the user's files under names that `compare --report` or a record set apart would take",
        "-",
        "one line, nothing changed; records set apart are numbered",
        (
            "report/test_paper_report::test_a_file_that_compare_did_not_write_is_not_written_over",
            "records/test_record_folder::test_what_is_set_apart_joins_what_was_there",
        ),
    ),
    Fault(
        "any text in any column of a record, or in a plugin's output: links, HTML, formulas, ANSI, invisible "
        "characters",
        "-",
        "plain text in every report, on the site, in its figures, and on the terminal",
        (
            "system/test_escaping::test_nothing_commands_a_terminal",
            "cli/test_foreign_plugins::test_a_plugins_words_command_no_terminal",
            "system/test_escaping::test_markdown_is_one_cell_of_plain_text",
            "system/test_escaping::test_markdown_that_begins_a_line_begins_nothing_else",
            "system/test_escaping::test_html_is_text_between_tags_and_in_attributes",
            "system/test_escaping::test_pictures_hold_text_and_no_formula",
            "system/test_escaping::test_latex_prints_text_and_runs_no_command",
            "system/test_escaping::test_csv_is_one_cell_and_no_formula",
            "site/test_foreign_records::test_every_column_of_text_is_attacked",
            "site/test_foreign_records::test_reports_in_every_format_hold_text_and_nothing_else",
            "site/test_foreign_records::test_every_payload_alone_is_text_in_every_report",
            "site/test_foreign_records::test_what_the_verbs_print_commands_no_terminal",
            "site/test_foreign_records::test_a_site_holds_text_and_nothing_else",
        ),
    ),
    Fault(
        "records with forged dates, under the same key or another",
        "-",
        "no date decides: records that agree count as one, others are a conflict, exit code 1; future dates "
        "are refused",
        (
            "submissions/test_merge::test_forged_dates_change_no_gap",
            "submissions/test_merge::test_which_of_equal_records_is_kept_depends_on_no_date_and_no_order",
            "submissions/test_merge::test_records_of_a_cell_of_other_code_that_disagree_are_a_conflict",
            "leaderboard/test_leaderboard::test_of_measurements_that_contradict_each_other_none_counts",
            "claims/test_verdicts::test_of_measurements_that_contradict_each_other_none_counts",
            "submissions/test_submitted::test_a_bad_file_is_refused_by_name_and_nothing_is_written",
        ),
    ),
    Fault(
        "a small file that fills the memory when it is read (`tests/parquet_bombs.py`)",
        "-",
        "refused by its footer, in little memory and time, by every verb that reads records",
        (
            "submissions/test_bombs::test_a_bomb_is_refused_in_little_memory_and_time",
            "submissions/test_submitted::test_the_longest_record_is_merged_at_once",
        ),
    ),
    Fault(
        "numbers, settings and texts at the limits of their types, in other people's records",
        "-",
        "refused in one line, or reported in every format and published",
        (
            "submissions/test_merged_is_reportable::test_what_is_refused_is_refused_in_one_line",
            "submissions/test_merged_is_reportable::test_whatever_merges_can_be_reported_in_every_format",
            "submissions/test_merged_is_reportable::test_whatever_merges_can_be_published",
        ),
    ),
    Fault(
        "Ctrl-C, SIGTERM and SIGHUP, also twice and to all processes",
        "serial, loky, dask",
        "exit code 130, 143, 129; finished work is kept, its leaderboard is built, no worker is left",
        ("running/test_engine::test_a_signal_that_asks_to_end_keeps_what_is_finished",),
    ),
    Fault(
        "SIGTERM and SIGHUP while other verbs write; SIGHUP under nohup",
        "-",
        "what was there is whole and nothing else is left; ignored signals stay ignored",
        (
            "cli/test_interruption::test_other_verbs_leave_nothing_half_written",
            "cli/test_interruption::test_tune_leaves_the_choice_of_before",
            "cli/test_interruption::test_what_was_ignored_at_the_start_stays_ignored",
            "cli/test_interruption::test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_is_another",
        ),
    ),
    Fault(
        "streams that are closed, full, or read by nobody",
        "serial, loky, dask",
        "records are kept; exit code 0 for closed ones, 2 for results that can't be printed, 141 for `head`",
        (
            "system/test_streams::test_a_verb_whose_streams_are_gone_ends_as_it_would_and_says_what_it_could_not_show",
            "system/test_streams::test_a_plugin_that_prints_into_a_stream_that_is_gone_does_not_fail",
            "system/test_streams::test_a_stream_that_does_not_wait_is_waited_for",
        ),
    ),
    Fault(
        "a word that YAML 1.1 and YAML 1.2 read differently",
        "all",
        "one line, exit code 2",
        (
            "system/test_yaml_values::test_a_word_that_versions_read_differently_is_refused_in_one_line_everywhere",
            "system/test_yaml_values::test_the_letters_that_are_truth_values_of_yaml_1_1_are_refused_as_values_and_are_names_as_keys",
            "system/test_yaml_values::test_what_is_written_is_read_as_it_was_and_names_can_be_typed",
        ),
    ),
    Fault(
        "another user of the machine who sends work to a run's workers",
        "dask",
        "can't connect: TLS with the run's own certificate; a scheduler without TLS gives a warning",
        (
            "running/test_dask_access::test_nobody_without_the_runs_certificate_can_connect",
            "running/test_dask_access::test_no_port_of_a_run_answers_a_stranger_and_its_key_is_nowhere_to_be_read",
            "running/test_dask_access::test_a_key_lies_in_a_folder_of_ones_own_for_the_moment_that_openssl_needs_it",
            "running/test_dask_access::test_a_cluster_with_tls_as_the_page_says_is_used_without_a_warning",
            "running/test_dask_access::test_a_scheduler_that_asks_nobody_for_a_certificate_is_warned_of",
        ),
    ),
    Fault(
        "a last minibatch of one image under batch normalisation",
        "all",
        "joined to its neighbour where it can't be normalised",
        ("training/test_replicas::test_a_last_image_that_batch_normalisation_can_not_take_is_joined_to_its_neighbour",),
    ),
    Fault(
        "a cell that fails although it has a result: another run's, or one that `--force` was to replace",
        "serial",
        "the result stays, and readers use it; the run says that the cell failed, exit code 1",
        (
            "records/test_cell_rows::test_a_failure_never_replaces_a_result",
            "records/test_cell_rows::test_of_two_runs_at_once_the_result_is_left_whoever_comes_first",
            "records/test_cell_rows::test_readers_take_a_result_and_not_the_failure_that_a_killed_run_left_beside_it",
            "running/test_runner::test_failed_cells_are_tried_again_when_asked",
        ),
    ),
    Fault(
        "records, artifacts, data and folders without read permission",
        "serial",
        "one line that names the file, exit code 2; it is neither replaced nor treated as missing or damaged",
        (
            "system/test_regular_files::test_what_can_not_be_opened_is_unreadable",
            "cli/test_faults_files::test_records_that_may_not_be_read_are_neither_replaced_nor_moved_nor_left_out",
            "cli/test_faults_files::test_artifacts_that_may_not_be_read_are_not_damaged_and_not_replaced",
            "cli/test_faults_files::test_files_without_permission_are_left_alone",
            "cli/test_faults_files::test_a_folder_that_may_not_be_listed_is_not_taken_for_an_empty_one",
            "cli/test_faults_files::test_data_that_may_not_be_read_is_nobodys_failure",
        ),
    ),
    Fault(
        "a pipe, socket, device, folder or link to nothing in the place of a file",
        "serial",
        "one line that names it, exit code 2; nothing waits, nothing is replaced",
        (
            "system/test_regular_files::test_what_is_no_ordinary_file_is_refused_at_once_and_never_replaced",
            "system/test_regular_files::test_an_append_does_not_wait_for_the_reader_of_a_pipe",
            "cli/test_faults_files::test_what_has_a_records_name_and_is_none_ends_every_verb_in_one_line",
            "cli/test_faults_files::test_what_has_an_artifacts_name_and_is_none_is_refused_and_stays",
            "cli/test_faults_files::test_pipes_named_like_suites_plugins_receipts_logs_and_data_are_not_waited_for",
            "cli/test_faults_files::test_data_that_is_no_file_is_refused_by_run_and_not_fetched_by_prepare",
        ),
    ),
    Fault(
        "the results folder is moved or removed during a run",
        "serial",
        "the closing line counts the records on the disk; one line, exit code 2; the next run computes the rest",
        ("cli/test_faults_files::test_results_that_are_moved_or_removed_under_a_run_are_missed_and_made_again",),
    ),
    Fault(
        "a plugin changes the working folder",
        "serial",
        "everything is written where it was requested: paths are absolute from the start",
        ("cli/test_faults_files::test_plugins_that_change_the_working_folder_move_nothing",),
    ),
    Fault(
        "a file system that can't sync folders",
        "-",
        "is used without that guarantee, and the run says so once; a full or broken disk is still an error",
        (
            "system/test_regular_files::test_a_folder_that_can_not_be_synced_is_used_and_that_is_said_once",
            "system/test_regular_files::test_a_disk_that_is_full_or_broken_is_an_error",
        ),
    ),
    Fault(
        "read-only results",
        "-",
        "verbs that only read work: they write nothing",
        (
            "cli/test_faults_files::test_results_that_may_only_be_read_are_reported",
            "cli/test_faults_files::test_verbs_that_read_write_nothing",
        ),
    ),
    Fault(
        "Parquet shards that are missing, duplicated, or from two sets; the same file under two names",
        "-",
        "one line that names the shard, exit code 2, nothing written",
        (
            "datasets/test_shards::test_incomplete_and_repeated_shards_are_refused",
            "datasets/test_shards::test_the_same_file_under_two_names_is_refused",
            "datasets/test_own_images::test_the_same_shard_twice_is_refused_under_any_name",
        ),
    ),
    Fault(
        "image files in other formats, hidden files, other splits, folders in classes, links to nothing",
        "-",
        "read; or left out and reported by `prepare` and the run's log; or refused by name",
        (
            "datasets/test_own_images::test_images_of_all_formats_are_read",
            "datasets/test_own_images::test_what_is_not_read_of_a_folder_is_said",
            "datasets/test_own_images::test_other_splits_are_left_out_and_said",
            "datasets/test_own_images::test_what_looks_meant_to_be_read_and_cant_be_is_refused",
            "datasets/test_shards::test_what_is_not_read_is_listed",
        ),
    ),
    Fault(
        "identical images within and across parts",
        "serial",
        "counted; a leak experiment whose truth they would falsify is refused; `duplicates: drop` leaves them out",
        (
            "splits/test_identical_images::test_copies_are_counted_by_where_they_are",
            "splits/test_identical_images::test_a_member_that_is_a_never_seen_image_too_is_refused",
            "splits/test_identical_images::test_an_erased_image_that_stays_as_another_is_refused",
            "splits/test_identical_images::test_a_run_is_refused_before_anything_is_written_and_goes_with_one_option",
        ),
    ),
    Fault(
        "transparency, palettes, 16 bits, EXIF tags, inks, one bit; animations, 32-bit numbers, truncated images",
        "-",
        "read as a viewer shows them, and reported; or refused by name",
        (
            "datasets/test_decode::test_a_drawing_in_the_transparency_is_laid_over_the_background",
            "datasets/test_decode::test_images_are_turned_as_their_exif_tag_says",
            "datasets/test_decode::test_sixteen_bits_are_scaled_and_not_clipped",
            "datasets/test_decode::test_animations_and_pages_are_refused",
            "datasets/test_decode::test_a_truncated_image_is_damaged_whatever_the_process_allows",
        ),
    ),
    Fault(
        "class folders named by numbers; class names that a dataset does not have, or has twice",
        "serial",
        "numbered accordingly, shown, kept in records; otherwise one line that lists the classes",
        (
            "datasets/test_own_images::test_class_folders_named_by_numbers_are_numbered_as_they_say",
            "suite/test_class_names::test_a_class_by_name_is_the_same_cell_as_by_number",
            "suite/test_class_names::test_a_class_that_is_not_there_is_one_line_with_all_that_are",
            "suite/test_class_names::test_records_hold_numbers_and_the_names_of_all_classes",
        ),
    ),
    Fault(
        "a worker with other data, code, plugins or versions of packages",
        "dask",
        "its cells fail; one line names the host and the difference",
        (
            "running/test_dask::test_a_machine_with_other_data_plugins_or_versions_refuses_the_job",
            "running/test_dask::test_a_machine_with_other_code_or_packages_refuses_the_job",
            "running/test_dask::test_a_machine_with_other_helpers_or_packages_of_a_plugin_refuses_the_job",
            "running/test_dask::test_the_code_of_two_machines_is_compared_by_names_and_contents",
        ),
    ),
    Fault(
        "another version of torch, numpy or another library that computes",
        "all",
        "other keys; the same command computes again, old records are set apart",
        (
            "registry/test_package_versions::test_keys_hold_what_each_stage_computes_with",
            "registry/test_package_versions::test_after_an_upgrade_the_same_command_computes_again",
            "registry/test_package_versions::test_a_plugins_own_packages_are_in_its_keys_and_records",
            "running/test_up_to_date::test_a_package_in_another_version_is_noticed",
        ),
    ),
    Fault(
        "records of several versions in one table; verified or merged under another version",
        "-",
        "a note for each method says so; computed again and compared; kept apart",
        (
            "registry/test_package_versions::test_seeds_of_several_versions_are_not_averaged_in_silence",
            "registry/test_package_versions::test_methods_of_several_versions_do_not_stand_side_by_side_in_silence",
            "registry/test_package_versions::test_verify_computes_what_another_version_recorded",
            "registry/test_package_versions::test_merge_keeps_records_of_two_versions_apart_and_says_which",
        ),
    ),
    Fault(
        "a changed helper, table or dependency of a plugin, in a folder or a distribution",
        "all",
        "another key; computed again, old records are set apart",
        (
            "registry/test_identity::test_every_file_of_the_folder_counts",
            "registry/test_identity::test_a_changed_helper_or_table_is_computed_again_and_old_records_are_set_apart",
            "registry/test_identity::test_a_changed_helper_or_table_of_a_distribution_is_another_plugin",
            "registry/test_identity::test_code_outside_that_is_of_no_package_counts_with_what_it_imports",
        ),
    ),
    Fault(
        "a helper that changes while a worker lives; helpers of one name in two folders",
        "dask, serial",
        "loaded again; the second plugin is refused by name",
        (
            "registry/test_identity::test_a_changed_helper_is_loaded_anew_by_a_process_that_lives_on",
            "registry/test_identity::test_a_helper_of_the_same_name_in_another_folder_is_never_taken",
        ),
    ),
    Fault(
        "a plugin folder that is too large or can't be read",
        "all",
        "one line, exit code 2",
        (
            "registry/test_identity::test_a_folder_that_is_too_large_is_one_line",
            "registry/test_identity::test_a_file_of_the_folder_that_can_not_be_read_is_one_line",
        ),
    ),
    Fault(
        "a plugin that leaves its process changed in any of the ways in tests/pollutions.py: torch's "
        "settings, modes, hooks and kernels under any dispatch key, threads, timers, signals, the "
        "environment, functions of torch, numpy, Python or the harness that were replaced",
        "serial, loky, dask",
        "everything is restored, and its cells fail with what it changed; other plugins' numbers are those without it",
        (
            "system/test_process_state::test_what_is_left_changed_is_told_and_put_back",
            "system/test_process_state::test_whatever_was_changed_before_a_clean_plugin_computes_the_same",
            "system/test_process_state::test_a_polluter_of_each_kind_before_a_clean_plugin_changes_none_of_its_numbers",
            "system/test_process_state::test_every_polluter_before_a_clean_plugin_under_every_engine",
            "system/test_process_state::test_it_is_told_wherever_in_a_plugin_it_happens_and_a_finaliser_is_no_way_out",
            "system/test_process_state::test_with_blocks_lazy_imports_and_random_numbers_pass_and_reach_nobody",
        ),
    ),
    Fault(
        "a plugin that changes its process when it is imported, when it is released, or after its stage",
        "serial",
        "reported as broken, by name; one line, exit code 2; restored before the next stage",
        (
            "system/test_process_state::test_a_plugin_that_changes_the_process_when_it_is_imported_is_broken_alone",
            "system/test_process_state::test_a_module_that_a_plugin_imports_first_and_changes_is_imported_anew",
            "system/test_process_state::test_what_a_planned_plugin_does_in_its_end_stops_the_run",
            "system/test_process_state::test_what_changes_between_two_stages_is_put_back_before_the_next",
            "system/test_process_state::test_what_cannot_be_put_back_ends_the_work_of_this_process",
        ),
    ),
    Fault(
        "a plugin that writes into the images, labels, ids or rows of members that its process keeps for all "
        "cells, through torch, `numpy()` or `data`",
        "serial, loky",
        "its cells fail; the images are loaded again",
        ("system/test_process_state::test_images_that_a_plugin_has_written_into_reach_no_other",),
    ),
    Fault(
        "helper modules of the same name beside two plugins",
        "-",
        "each plugin gets its own; a late import that could find the other's is refused",
        (
            "system/test_process_state::test_modules_beside_two_plugins_may_have_one_name",
            "system/test_process_state::test_a_module_that_could_be_anothers_when_it_is_imported_late_is_refused",
            "registry/test_identity::test_a_helper_of_the_same_name_in_another_folder_is_never_taken",
        ),
    ),
    Fault(
        "a plugin that prints, writes, patches or kills in order to pass `check`",
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
    Fault(
        "another contender's record under the name `retrain`; a record that contradicts the others about what"
        " a method is",
        "merge, report",
        "no gap is measured from either, and a note says why; the majority of seeds decides what a method is",
        (
            "leaderboard/test_leaderboard::test_of_two_that_are_named_retrain_neither_is_the_reference_whichever_comes_last",
            "leaderboard/test_leaderboard::test_one_seed_that_says_what_a_plugin_is_is_no_majority_of_those_that_do_not",
        ),
    ),
    Fault(
        "a changed file that a plugin's key might miss: hidden, beside records, data of a module elsewhere, a"
        " module that is found before the package or the standard library's of its name",
        "all",
        "the plugin counts as another one; computed again",
        (
            "registry/test_identity::test_hidden_files_and_those_beside_records_are_known",
            "registry/test_identity::test_data_that_a_module_from_elsewhere_reads_is_known",
            "registry/test_identity::test_what_is_on_the_path_before_a_package_or_the_standard_library_is_known_by_its_files",
        ),
    ),
    Fault(
        "scores of candidates of one kind only, or of none",
        "merge, report, publish",
        "refused as a record, in one line",
        ("leaderboard/test_leaderboard::test_scores_of_one_side_only_are_no_record",),
    ),
    Fault(
        "TIFF with 12 bits, with white at 0, signed, in planes, in Lab, YCbCr or other inks, with unnamed samples",
        "-",
        "white is what the file defines as white; or refused by name",
        (
            "datasets/test_stored::test_a_tiff_of_any_depth_is_white_where_it_says_white",
            "datasets/test_stored::test_a_tiff_whose_zero_is_white_is_inverted",
            "datasets/test_stored::test_a_tiff_whose_numbers_may_mean_anything_is_refused",
            "datasets/test_stored::test_the_layouts_of_a_tiff_are_one_picture",
        ),
    ),
    Fault(
        "transparent greys of 2 and 4 bits, transparent colours of 16 bits",
        "-",
        "laid over the background; or refused by name",
        (
            "datasets/test_stored::test_a_transparent_grey_is_laid_over_the_background_at_any_depth",
            "datasets/test_stored::test_a_transparent_colour_of_sixteen_bits_is_refused",
            "datasets/test_stored::test_a_transparent_colour_that_no_pixel_can_have_is_refused",
        ),
    ),
    Fault(
        "colour profiles, gamma and primary colours unlike sRGB; inks without Adobe's marker",
        "-",
        "converted to sRGB, and reported; or refused by name; sRGB's own profiles change no bit",
        (
            "datasets/test_stored::test_other_colours_are_converted_to_srgb",
            "datasets/test_stored::test_grey_is_shown_by_its_profiles_curve",
            "datasets/test_stored::test_an_image_with_the_profile_of_srgb_is_taken_bit_by_bit",
            "datasets/test_stored::test_a_photograph_with_the_profile_of_another_maker_of_srgb_is_taken_bit_by_bit",
            "datasets/test_stored::test_a_png_of_other_colours_or_brightness_is_refused",
            "datasets/test_stored::test_a_bmp_with_a_colour_space_of_its_own_is_refused",
            "datasets/test_stored::test_inks_of_a_jpeg_without_adobes_marker_are_refused",
        ),
    ),
    Fault(
        "several images in one .pgm or .ppm file; a GIF smaller than its canvas",
        "-",
        "refused by name",
        (
            "datasets/test_stored::test_a_second_image_in_a_file_is_refused_and_a_line_end_is_none",
            "datasets/test_stored::test_a_gif_that_leaves_its_canvas_open_is_refused",
        ),
    ),
    Fault(
        "a plugin that closes, detaches or replaces standard streams or their file descriptors",
        "all",
        "its cell fails; the streams are open again for everything that uses them",
        ("system/test_process_state::test_standard_streams_that_were_closed_are_open_again",),
    ),
    Fault(
        "a plugin that stops or moves the timer of the time limit",
        "serial",
        "its cell fails; the limit continues",
        ("system/test_process_state::test_a_time_limit_runs_on_and_is_set_again_when_a_plugin_has_stopped_it",),
    ),
    Fault(
        "a plugin that changes a class of a library that it imports first",
        "all",
        "nothing more is computed in its process; one line names the class",
        (
            "system/test_process_state::test_a_class_that_a_plugin_imports_first_and_changes_ends_the_work_of_this_process",
        ),
    ),
    Fault(
        "a library that the harness starts to compute with and the guard does not know",
        "-",
        "the tests name it",
        ("system/test_guarded_libraries::test_every_library_that_is_computed_with_is_compared",),
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
