"""The faults of the serving plane."""

from __future__ import annotations

from drills.faults.fault import Fault

_FLEET = "fleet/control/test_fleet.py"
_HEALING = "fleet/control/test_healing.py"
_TWO_ENVOYS = "fleet/envoy/test_two_envoys.py"
_PREDICT = "bentos/http/test_http_predict.py"

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
