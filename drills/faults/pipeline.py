"""The faults of the training plane."""

from __future__ import annotations

from drills.faults.fault import Fault

_KILLS = "functional/faults/test_kills.py"
_FROZEN = "pipelines/runs/test_frozen.py"
_COLLECT = "pipelines/collect/test_sources_files.py"
_STORE = "fleet/store/test_store_faults.py"
_VALIDATE = "pipelines/validate"
_SCHEDULER = "dags/test_real_scheduler.py"
_EXECUTORS = "dags/scheduling/test_executors.py"
_ORDER = "dags/scheduling/test_runs.py"

PIPELINE = (
    Fault(
        1,
        "kill -9 inside a stage",
        "L1, L2, L4",
        ("kills",),
        (
            f"{_KILLS}::test_killed_runs_end_with_the_digests_of_an_undisturbed_one",
            f"{_FROZEN}::test_stage_of_a_killed_attempt_is_ended_before_the_next_one_works",
            f"{_COLLECT}::test_collect_gives_the_same_bytes_when_it_was_killed_before",
            f"{_STORE}::test_killed_put_leaves_nothing_under_a_final_name_and_gc_clears_the_rest",
            "pipelines/commands/test_scratch.py::test_what_a_killed_command_left_is_removed_by_the_next_one_and_nothing_else",
        ),
    ),
    Fault(
        2,
        "kill -9 in the middle of boosting",
        "L4; at most one checkpoint is repeated",
        ("kills",),
        (
            f"{_KILLS}::test_killed_runs_end_with_the_digests_of_an_undisturbed_one",
            "pipelines/models/engines/test_checkpoints.py::test_killed_training_is_resumed_in_another_workspace_to_the_same_bytes",
            f"{_SCHEDULER}::test_training_that_was_killed_half_way_went_on_from_its_checkpoint",
        ),
    ),
    Fault(
        3,
        "a full disk",
        "exit code 75, L2, nothing under a final name; the retry succeeds",
        tests=(
            "functional/faults/test_full_disk.py::test_another_try_is_asked_for_when_the_disk_is_full",
            f"{_STORE}::test_put_fails_cleanly_when_the_disk_is_full_and_succeeds_once_there_is_room",
            "fleet/control/test_full_disk.py::test_command_says_so_and_changes_nothing_when_the_disk_is_full",
        ),
    ),
    Fault(
        4,
        "random EIO, failed fsync",
        "as with a full disk",
        tests=(f"{_STORE}::test_put_fails_cleanly_when_the_disk_fails_at_random",),
    ),
    Fault(
        5,
        "a truncated or changed Parquet file",
        "rejected before training",
        tests=(f"{_VALIDATE}/test_validate.py::test_validate_rejects_a_file_that_is_cut",),
    ),
    Fault(
        6,
        "a changed byte in an object of DVC's cache",
        "detected before it is used",
        tests=(
            "functional/test_verify.py::test_object_is_repaired_when_a_byte_of_it_has_flipped",
            "functional/test_verify.py::test_stock_dvc_uses_a_flipped_byte_and_verify_does_not",
            "functional/test_verify.py::test_a_stage_refuses_what_changed_after_the_run_began",
        ),
    ),
    Fault(
        7,
        "a corrupt object in DVC's remote",
        "detected before it is used",
        tests=("functional/faults/test_flaky_remote.py::test_object_that_was_cut_is_not_pulled_and_is_repaired",),
    ),
    Fault(
        8,
        "a remote that resets and cuts connections",
        "L4, or a clean failure",
        tests=("pipelines/collect/test_sources_flaky.py::test_file_that_is_cut_on_its_way_is_no_partition",),
    ),
    Fault(
        9,
        "sixteen runs at once, sixteen publications at one moment",
        "all runs finish; one publication wins, and the others say so",
        ("airflow",),
        (
            "pipelines/runs/test_workspace.py::test_two_runs_work_at_once",
            "pipelines/train/test_model.py::test_publish_is_told_when_another_publisher_was_faster",
            f"{_ORDER}::test_newest_month_overtakes_a_backfill_in_progress",
        ),
    ),
    Fault(
        10,
        "a clock that is off by an hour or a year",
        "the same partitions",
        ("kills",),
        ("functional/test_incremental.py::test_a_wrong_clock_changes_no_partition",),
    ),
    Fault(
        11,
        "a task, a worker or the scheduler killed in mid-run; all of Airflow stopped and started",
        "L1, L4; no side effect twice",
        tests=(
            f"{_EXECUTORS}::test_run_goes_on_to_the_same_bytes_when_a_worker_and_each_server_is_killed",
            f"{_SCHEDULER}::test_nothing_is_left_when_the_supervisor_is_killed",
            f"{_ORDER}::test_a_killed_stage_a_killed_worker_and_a_frozen_task_cost_an_attempt_and_no_byte",
            f"{_ORDER}::test_late_rows_change_their_month_and_all_that_hangs_on_it_though_the_scheduler_is_killed",
        ),
    ),
    Fault(
        12,
        "the orchestrator's database lost",
        "L3; L1 after it is rebuilt",
        tests=(f"{_SCHEDULER}::test_serving_goes_on_and_nothing_is_there_twice_when_the_database_is_lost",),
    ),
    Fault(
        13,
        "a stage frozen past its heartbeat, then woken",
        "its late write is refused",
        tests=(
            f"{_FROZEN}::test_late_write_of_a_frozen_attempt_is_refused_when_it_is_woken",
            f"{_ORDER}::test_a_killed_stage_a_killed_worker_and_a_frozen_task_cost_an_attempt_and_no_byte",
        ),
    ),
    Fault(
        14,
        "schema drift: a column missing, renamed, retyped, new",
        "the batch is quarantined with reasons; the live model is unchanged",
        tests=(f"{_VALIDATE}/test_drift.py::test_a_drifted_month_is_quarantined_unless_somebody_looked_at_it",),
    ),
    Fault(
        15,
        "impossible values, a constant column",
        "quarantined at the declared budget",
        tests=(
            f"{_VALIDATE}/test_validate.py::test_column_that_is_constant_in_one_month_stops_the_run_unless_it_may_be",
        ),
    ),
    Fault(
        16,
        "a leak: a feature that is the label plus noise",
        "blocked",
        tests=(
            "pipelines/features/test_screen.py::test_a_feature_that_is_the_label_plus_noise_is_blocked_until_it_is_reviewed",
        ),
    ),
    Fault(
        17,
        "repeated rows, a batch delivered twice",
        "the count of rows is unchanged",
        tests=(
            f"{_COLLECT}::test_partition_is_the_same_when_rows_come_late_twice_or_in_another_order",
            "pipelines/features/test_screen.py::test_rows_that_are_there_twice_are_blocked_within_and_across_months",
        ),
    ),
    Fault(
        18,
        "late rows of an old month",
        "the digests of rows in time",
        tests=(
            "functional/test_incremental.py::test_a_backfill_equals_months_that_came_one_by_one_late_and_twice",
            f"{_ORDER}::test_late_rows_change_their_month_and_all_that_hangs_on_it_though_the_scheduler_is_killed",
        ),
    ),
)
