"""The guest's end of the channel: one small process, forked by init, that relays streams to what runs in the guest."""
