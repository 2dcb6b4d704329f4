"""Networks of containers: the default bridge, `host` and `none`, published ports, names.

Glossary: an *endpoint* is a container's place in a network; a *published port* is a port of the host that leads to a
container; a *held socket* is the bound socket that keeps such a port ours, whoever serves it.
"""
