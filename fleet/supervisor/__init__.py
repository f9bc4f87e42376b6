"""supervisord and its programs: replicas, the watchdog."""
