"""A person's approval before a model is deployed: off unless `BULKHEAD_APPROVAL_HOURS` is set; see docs/how-to/airflow.md."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from operations.links import BY_TASK
from operations.places import PROJECT, command_environment


class Approval(ApprovalOperator):  # type: ignore[misc]  # airflow's types are not followed
    """Ask a person, with the gates' verdict, the bundle, the scores and a link to the report; a command prints the text.

    Approved: the next task deploys. Rejected: it is skipped. No answer in time: this task fails, without a retry, which would ask again. In
    both cases the live model stays.
    """

    template_fields = (*ApprovalOperator.template_fields, "command")

    def __init__(self, *, command: list[str], hours: float, **arguments: Any) -> None:
        super().__init__(
            subject="Deploy the model of {{ dag_run.partition_key or params.through or 'the last commit' }}?",
            response_timeout=timedelta(hours=hours),
            retries=0,
            **arguments,
        )
        self.command = command
        self.hours = hours
        self.operator_extra_links = BY_TASK["approve"]

    def execute(self, context: Any) -> Any:
        """Ask."""
        done = subprocess.run(
            self.command, cwd=PROJECT, env=command_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AirflowException(f"exit code {done.returncode}: {done.stderr.strip()}")
        links = (f"[{link.name}]({link.get_link(self, ti_key=context['ti'])})" for link in self.operator_extra_links)
        self.body = "\n\n".join([done.stdout.strip(), " · ".join(links)])
        self.log.info(
            "%s\n%s\nwaiting for an answer for %g h: tab Required Actions", self.subject, self.body, self.hours
        )
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Say who decided what."""
        if "error" not in event:
            approved = event["chosen_options"] == [self.APPROVE]
            who = (event["responded_by_user"] or {}).get("name") or "somebody"
            verdict = f"{'approved' if approved else 'rejected'} by {who}"
            self.log.info("%s%s", verdict, "" if approved else ": it is not deployed; the live model stays")
            outcome = {"stage": "approve", "state": "ran" if approved else "refused", "facts": {"verdict": verdict}}
            context["ti"].xcom_push(key="outcome", value=outcome)
        return super().execute_complete(context, event)  # leaves by an exception when the next task is skipped

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        """Keep the model back when nobody answered."""
        if event["error_type"] == "timeout":
            raise AirflowFailException(
                f"nobody answered within {self.hours:g} h, so the model is not deployed; the live model stays. Clear this task to ask again"
            )
        super().process_trigger_event_error(event)
