"""What the user sees: records -> text. Pure: no clock, no terminal, no engine."""
