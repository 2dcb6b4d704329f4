"""What the behaviour tests stand on: a machine with an engine of its own, terminals, peers outside, and an audit.

Theory of operation. Each pytest process enters namespaces of its own before its first machine starts (`worker`): a
network namespace, so that bridges, ports and firewall rules of parallel workers never meet, and a mount namespace with
a tmpfs for all engine data, so that nothing survives the worker. The worker is a subreaper: every process that an
engine leaves behind becomes its child, where the audit finds it. Images are built once (`images`) and loaded into each
engine from archives.
"""
