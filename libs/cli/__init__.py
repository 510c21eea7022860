"""The `nexus` command and the supervisor of a local run."""
