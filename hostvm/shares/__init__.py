"""Host paths inside a machine: the FUSE server. The guest's end is `guest_agent.relay`."""
