"""Where containers' output goes beside the engine's own files: the journal, syslog servers."""
