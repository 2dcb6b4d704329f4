"""Named and anonymous volumes: folders that outlive containers."""
