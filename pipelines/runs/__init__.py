"""Run workspaces: every run of the pipeline has a checkout of its own over one shared DVC cache."""
