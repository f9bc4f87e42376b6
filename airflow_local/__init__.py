"""Airflow on this machine: its components under the supervisord of the fleet's environment."""
