"""The catalogue of faults: their injection, the invariant that must hold, and the drills and tests that inject them.

Invariants:

L1 batches: every collected batch is in exactly one final state, accepted or quarantined
L2 live pointer: it always resolves to a complete bundle whose signature verifies
L3 answers: no valid request fails, and every answer is the golden one of the digest that it names
L4 resume: the outputs after a crash and a resume have the digests of an uninterrupted run

A fault without a drill and a test is not injected yet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        number: its key in results of drills.
        injected: the injection, in words.
        invariant: the condition that must hold.
        drills: names of `python -m drills`.
        tests: `FILE::FUNCTION`, below `tests/`.
    """

    number: int
    injected: str
    invariant: str
    drills: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


_KILLS = "functional/faults/test_kills.py"
_FROZEN = "pipelines/runs/test_frozen.py"
_COLLECT = "pipelines/collect/test_sources_files.py"
_STORE = "fleet/store/test_store_faults.py"
_VALIDATE = "pipelines/validate"
_FLEET = "fleet/control/test_fleet.py"
_HEALING = "fleet/control/test_healing.py"
_TWO_ENVOYS = "fleet/envoy/test_two_envoys.py"
_SCHEDULER = "dags/test_real_scheduler.py"
_EXECUTORS = "dags/scheduling/test_executors.py"
_ORDER = "dags/scheduling/test_runs.py"
_PREDICT = "bentos/http/test_http_predict.py"

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

SERVING = (
    Fault(
        19,
        "kill -9 of one replica a second, for a minute",
        "L3; ready again within 2 s",
        ("fleet",),
        (f"{_FLEET}::test_no_request_fails_and_replica_returns_when_it_is_killed",),
    ),
    Fault(20, "a replica stopped (SIGSTOP)", "out of rotation within 2 s, L3", ("fleet",)),
    Fault(
        21,
        "1,000 slow headers, 1,000 slow bodies",
        "L3 for good callers",
        ("slow",),
        ("bentos/load/test_drills.py::test_good_callers_are_answered_while_slow_ones_hold_hundreds_of_connections",),
    ),
    Fault(
        22,
        "bodies of 300 MB, endless ones, zip bombs",
        "refused early; memory grows by 10 % at most",
        ("bodies",),
        ("bentos/http/test_http_limits.py::test_bodies_are_refused_when_all_together_hold_too_much",),
    ),
    Fault(
        23,
        "broken JSON, deep nesting, wrong types",
        "4xx with a message that names the field",
        ("hostile", "fuzz"),
        ("bentos/http/test_json_body.py::test_both_parsers_read_the_same_and_refuse_a_key_twice",),
    ),
    Fault(
        24,
        "too many rows in a request",
        "refused before the model runs",
        ("hostile",),
        (f"{_PREDICT}::test_too_many_rows_are_refused",),
    ),
    Fault(
        25,
        "NaN, infinities, 1e999",
        "422; no NaN in an answer",
        ("hostile",),
        (f"{_PREDICT}::test_nan_is_refused_when_it_stands_for_a_text",),
    ),
    Fault(
        26,
        "an unknown category, a missing optional field",
        "the documented fallback, named in the answer",
        ("hostile", "one_answer"),
        (
            "bentos/http/test_http_oip.py::test_fallbacks_are_a_parameter_of_the_answer_and_absent_where_nothing_was_assumed",
        ),
    ),
    Fault(
        27,
        "pickles",
        "415; nothing is unpickled",
        ("hostile",),
        (f"{_PREDICT}::test_pickles_are_refused_on_every_path",),
    ),
    Fault(
        28,
        "3× overload",
        "goodput of 90 % of the capacity; the rest is refused at once",
        ("overload",),
        (
            "bentos/load/test_overload.py::test_crowd_gets_right_answers_or_refusals_and_health_is_answered_meanwhile",
            "bentos/load/test_overload.py::test_crowd_over_grpc_gets_right_answers_or_refusals",
        ),
    ),
    Fault(
        29,
        "a bundle that crashes, hangs, is unsigned or changed",
        "it never gets a request",
        ("fleet",),
        (
            "fleet/control/test_refused_bundles.py::test_live_bundle_serves_on_when_a_bundle_is_refused_with_one_byte_changed_in_its",
            "fleet/store/test_bundle_verify.py::test_flipped_bytes_are_refused_by_the_command",
        ),
    ),
    Fault(
        30,
        "a worse model",
        "stopped by the gate, or by the judge of canaries within its error budget, L3",
        ("judge", "airflow"),
        (
            "pipelines/train/test_model.py::test_evaluate_rejects_a_model_worse_than_the_live_one",
            "functional/faults/test_worse_canary.py::test_canary_with_errors_is_rolled_back_and_no_caller_sees_one",
            "functional/faults/test_worse_canary.py::test_deploy_task_fails_with_the_verdict_when_the_judge_rolls_back",
            "fleet/canary/test_judge.py::test_simulated_rollouts_end_as_they_should",
        ),
    ),
    Fault(31, "deployment and rollback", "done within 10 s, L3", ("fleet",)),
    Fault(
        32,
        "the load balancer reloaded and replaced",
        "L3",
        ("fleet",),
        (f"{_TWO_ENVOYS}::test_no_request_fails_when_both_envoys_are_replaced_by_another_version",),
    ),
    Fault(
        33,
        "training at full tilt at peak traffic",
        "p99 grows by 10 % at most, L3",
        ("contention", "cgroup2"),
        (
            "functional/faults/test_contention.py::test_no_request_fails_beside_training_that_gets_what_the_fleet_leaves",
        ),
    ),
    Fault(
        34,
        "the training side gone",
        "L3",
        ("fleet",),
        (
            "functional/faults/test_planes_apart.py::test_fleet_serves_scales_and_deploys_when_the_training_plane_is_gone",
            f"{_FLEET}::test_nothing_changes_when_the_store_says_nothing",
        ),
    ),
    Fault(
        35,
        "a store that names no live bundle",
        "the command is refused, and nothing changes",
        ("fleet",),
        (f"{_FLEET}::test_nothing_changes_when_the_store_says_nothing",),
    ),
    Fault(
        36,
        "supervisord or Envoy killed or stopped",
        "repaired without a person, L3",
        ("fleet",),
        (
            f"{_FLEET}::test_nobody_is_needed_when_supervisord_is",
            f"{_FLEET}::test_envoy_is_started_again_when_it_hangs",
        ),
    ),
    Fault(37, "two fleets with the same ports on one machine", "each answers with its own bundle, L3", ("fleet",)),
    Fault(
        38,
        "the only replica of a canary killed",
        "L3",
        ("fleet",),
        (f"{_FLEET}::test_no_request_fails_when_the_only_replica_of_a_canary_dies_and_its_errors_are_counted",),
    ),
    Fault(
        39,
        "the live bundle's code changed in the store",
        "it never runs, L3",
        ("fleet",),
        ("fleet/store/test_installed.py::test_changed_code_in_the_store_does_not_run_when_replicas_are_killed",),
    ),
    Fault(
        40,
        "the environment of the replicas replaced",
        "L3; the fleet scales and rolls back",
        ("fleet",),
        (
            "fleet/store/test_installed.py::test_replicas_serve_and_return_and_are_gone_back_to_when_make_has_made_an_environment_of_another_lock",
        ),
    ),
    Fault(
        41,
        "the signing key rotated",
        "L3; a bundle of an unknown key is refused",
        ("fleet",),
        ("fleet/store/test_signing_keys.py::test_fleet_starts_scales_and_rolls_back_when_the_signing_key_was_rotated",),
    ),
    Fault(
        42,
        "SIGTERM to a replica without a fleet, with busy connections",
        "no connection is reset",
        ("stop",),
    ),
    Fault(
        43,
        "any process of the fleet killed at any time, a command and the reconciler too",
        "L3, but for requests in flight at a killed Envoy; declared, live and running agree again without a person",
        ("chaos",),
        tuple(
            f"{_HEALING}::{name}"
            for name in (
                "test_no_request_fails_and_all_heals_when_whatever_supervises_is_killed_in_any_order",
                "test_deployment_that_is_killed_is_completed_or_undone_as_a_whole",
                "test_up_brings_all_back_when_the_machine_was_restarted",
            )
        )
        + tuple(
            f"{_TWO_ENVOYS}::{name}"
            for name in (
                "test_connections_are_not_refused_when_an_envoy_is_killed_and_nobody_starts_it_again",
                "test_envoys_outlive_supervisord_and_the_next_one_starts_them_again",
            )
        ),
    ),
)

FAULTS = PIPELINE + SERVING
