"""The cluster policies of this project, which Airflow looks for under this name."""

from run_order import task_instance_mutation_hook

__all__ = ["task_instance_mutation_hook"]
