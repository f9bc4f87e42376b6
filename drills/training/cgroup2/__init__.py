"""A virtual machine with cgroup v2, systemd and an ordinary user, in which tests of cgroups and of the wall run."""
