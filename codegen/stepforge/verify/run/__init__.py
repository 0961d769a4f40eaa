"""Running rungs: tasks, worker processes, verdicts that are kept."""
