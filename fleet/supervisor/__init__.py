"""supervisord and what runs below it: replicas, the watchdog."""
