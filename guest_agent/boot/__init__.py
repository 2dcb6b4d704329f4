"""The first process of the VM machine's guest: from the kernel's hands to an engine, and back to power-off.

It takes the place of an init system: mounts, modules, one static network interface, and four processes that it starts
again when they die: the agent (the channel's end), the relay (shared folders), and the keeper with its engine. All of
them start before there is a data disk, and import what they need, so that a machine's state can be saved while it is
*warm*: new machines resume from there. Only then does the host say `begin`.
"""
