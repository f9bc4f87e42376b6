"""The ML Test Score: four sections of seven tests, and how each is decided here.

Half a point: a person can run the check, and a page says how. A whole point: it runs by itself, in `make test`, as a stage, in a DAG or in
the fleet.

Source: Breck, Cai, Nielsen, Salib, Sculley 2017, The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction.
"""

from __future__ import annotations

from dataclasses import dataclass

from drills.score import evidence
from drills.score.checks import Check


@dataclass(frozen=True)
class Question:
    """A test of the rubric.

    Attributes:
        asks: its title.
        automated: the check for a whole point; None where there is none yet.
        manual: the check for half a point.
        lacks: why it cannot have a whole point, where `automated` is None.
    """

    asks: str
    automated: Check | None = None
    manual: Check | None = None
    lacks: str = ""


_TRAINED = "pipelines/train/test_model.py"
_MONITORED = f"{_TRAINED}::test_monitor_is_content_with_a_model_that_holds_and_alarms_when_it_does_not"
_BUDGETS = "functional/bundles/test_rehearsal.py::test_each_budget_is_named_when_it_is_exceeded"
_SEEN_DRIFT = (
    "bentos/monitoring/test_metrics.py::test_drift_is_small_for_rows_like_those_of_the_training_and_large_for_others"
)
_BAD_MONTH = (
    "pipelines/validate/test_validate.py::test_validate_names_expectation_column_and_counts_when_a_month_is_bad"
)

DATA = (
    Question("Feature expectations are captured in a schema", Check(evidence=(evidence.expectations,))),
    Question(
        "All features are beneficial",
        manual=Check(evidence=(evidence.beneficial,), page="reference/ml-test-score.md"),
        lacks="no gate drops a feature that is of no use",
    ),
    Question(
        "No feature's cost is too much",
        manual=Check((_BUDGETS,), page="how-to/server.md"),
        lacks="publishing refuses a bundle beyond its budgets of time and memory, but nothing weighs one feature",
    ),
    Question(
        "Features adhere to meta-level requirements",
        Check(
            (
                "pipelines/features/test_features.py::test_column_is_refused_as_a_feature_when_it_identifies",
                "pipelines/features/test_screen.py::test_a_feature_that_is_the_label_plus_noise_is_blocked_until_it_is_reviewed",
            ),
            (evidence.screened,),
        ),
    ),
    Question(
        "The data pipeline has appropriate privacy controls",
        Check(
            (
                "functional/test_leaks.py::test_bundle_and_store_hold_no_value_of_a_row",
                "pipelines/validate/test_validate.py::test_validate_quotes_no_row_value_anywhere",
            )
        ),
    ),
    Question(
        "New features can be added quickly",
        Check(("structure/test_how_to.py::test_page_touches_as_many_source_files_as_the_table_says",)),
    ),
    Question(
        "All input feature code is tested",
        Check(
            (
                "contract/model/test_transforms.py",
                "pipelines/features/test_features.py::test_features_encode_each_row_as_declared",
            ),
            (evidence.transforms_tested,),
        ),
    ),
)

MODEL = (
    Question(
        "Model specs are reviewed and submitted",
        manual=Check(evidence=(evidence.committed,), page="explanation/models.md"),
        lacks="no file shows that somebody reviewed a commit: protect the branch",
    ),
    Question(
        "Offline and online metrics correlate",
        manual=Check((_MONITORED,), page="how-to/monitoring.md"),
        lacks="`monitor` measures the live model as `evaluate` did, but nobody has measured what its answers are worth to callers",
    ),
    Question(
        "All hyperparameters have been tuned",
        Check(evidence=(evidence.tuned,)),
        Check(
            ("pipelines/tune/test_stage.py::test_search_finds_better_settings_which_train_applies",),
            page="how-to/tune.md",
        ),
    ),
    Question("The impact of model staleness is known", Check(evidence=(evidence.staleness,))),
    Question(
        "A simpler model is not better", Check(evidence=(evidence.gate_passed("better than the linear baseline"),))
    ),
    Question(
        "Model quality is sufficient on important data slices",
        Check(
            ("pipelines/evaluate/slices/test_declared_slices.py::test_gate_fails_when_one_slice_is_worse",),
            (evidence.slices,),
        ),
    ),
    Question(
        "The model is tested for considerations of inclusion",
        Check(evidence=(evidence.fairness,)),
        Check(
            (
                "pipelines/evaluate/slices/test_fairness.py::test_rates_are_those_of_the_rows",
                "pipelines/evaluate/slices/test_fairness.py::test_gap_is_judged_by_its_bounds",
            ),
            page="reference/params.md",
        ),
    ),
)

INFRASTRUCTURE = (
    Question(
        "Training is reproducible",
        Check(
            (
                f"{_TRAINED}::test_train_gives_the_same_bytes_whatever_the_number_of_threads",
                f"{_TRAINED}::test_bundle_has_one_digest_for_one_run_and_verifies",
            )
        ),
    ),
    Question(
        "Model specs are unit tested",
        Check(
            (
                f"{_TRAINED}::test_train_changes_the_model_when_the_seed_changes",
                f"{_TRAINED}::test_check_parity_rejects_an_export_that_differs",
                "pipelines/models/test_linear.py",
            )
        ),
    ),
    Question("The ML pipeline is integration tested", Check(evidence=(evidence.pipeline_ran,))),
    Question(
        "Model quality is validated before serving",
        Check(
            (f"{_TRAINED}::test_evaluate_approves_no_model_that_learned_nothing_and_bundle_refuses_it",),
            (evidence.approved,),
        ),
    ),
    Question(
        "The model can be debugged step by step on one example",
        manual=Check(
            ("pipelines/commands/test_predictions.py::test_table_holds_features_and_answers_to_the_last_bit",),
            (evidence.stepwise,),
            page="reference/prediction-log.md",
        ),
        lacks="a person reads the features of a row in the prediction log; no command explains its score",
    ),
    Question(
        "Models are tested by a canary before they serve",
        Check(
            (
                "fleet/canary/test_judge.py::test_simulated_rollouts_end_as_they_should",
                "fleet/canary/test_controller.py::test_rollback_is_asked_for_until_it_is_done_when_the_canary_fails",
            )
        ),
    ),
    Question(
        "A served model can be rolled back",
        Check(
            ("fleet/control/test_fleet.py::test_no_request_fails_when_another_bundle_is_deployed_and_rolled_back",),
        ),
    ),
)

MONITORING = (
    Question(
        "Dependency changes result in notification",
        Check(
            (
                _BAD_MONTH,
                "dags/test_structure.py::test_who_tells_whom",
                "dags/people/test_messages.py::test_message_arrives_by_webhook_and_by_mail",
            )
        ),
    ),
    Question(
        "Data invariants hold in training and serving inputs",
        Check(
            (_BAD_MONTH, "contract/model/test_encoder.py::test_every_problem_is_reported_at_once"),
            (evidence.expectations,),
        ),
    ),
    Question(
        "Training and serving features compute the same values",
        Check((f"{_TRAINED}::test_predictor_answers_a_request_as_the_table_is_scored", _SEEN_DRIFT)),
    ),
    Question("Models are not too stale", Check((_MONITORED, "dags/test_structure.py::test_the_five_dags_are_there"))),
    Question(
        "The model is numerically stable",
        Check(
            ("contract/model/test_predictor.py::test_score_that_is_no_finite_number_never_gets_out",),
            (evidence.finite,),
        ),
    ),
    Question(
        "Computing performance has not regressed",
        Check((_BUDGETS, "fleet/canary/test_evidence.py::test_slow_blocks_are_harm_and_fast_ones_its_absence")),
    ),
    Question(
        "Prediction quality has not regressed on served data",
        Check(
            (_MONITORED, "fleet/canary/test_evidence.py::test_shifted_predictions_are_harm_and_like_ones_its_absence")
        ),
    ),
)

SECTIONS = {
    "Features and data": DATA,
    "Model development": MODEL,
    "Infrastructure": INFRASTRUCTURE,
    "Monitoring": MONITORING,
}
