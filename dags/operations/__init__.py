"""For the people who run the DAGs: alerts, approval, progress, and pages in Airflow's UI."""
