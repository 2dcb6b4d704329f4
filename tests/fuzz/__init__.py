"""What is fuzzed: all that reads other people's bytes. `scripts/fuzz NAME` looks for what breaks an invariant."""
