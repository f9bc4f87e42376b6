"""Run workspaces: a checkout for every run of the pipeline, over one shared DVC cache."""
