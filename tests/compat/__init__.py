"""Other people's test suites against our engine and against dockerd: the score is the share of what dockerd passes."""
