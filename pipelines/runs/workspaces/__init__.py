"""The workspaces of runs: opened, recorded, closed, and shared by workers of several checkouts."""
