"""Container configuration -> OCI spec (pure), the OCI runtime, cgroups. Knows no records and no networks."""
