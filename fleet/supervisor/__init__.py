"""supervisord and its programs: replicas, the reconciler."""
