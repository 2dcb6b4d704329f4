"""A machine is a place where an engine lives; its driver's one product is a byte stream to that engine."""
