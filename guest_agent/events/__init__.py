"""What happened: the last events in memory, and those who listen."""
