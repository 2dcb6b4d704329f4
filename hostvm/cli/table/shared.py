"""Flags that several commands have."""

from hostvm.cli.spec import many, option

FORMAT = option("format", "", "string", 'Format output: "json", "table", "table TEMPLATE" or a Go template')
INSPECT_FORMAT = option("format", "f", "string", 'Format output: "json" or a Go template')
FILTER = many("filter", "f", "filter", "Filter output based on conditions provided")
PRUNE_FILTER = many("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")')
DETACH_KEYS = option("detach-keys", "", "string", "Override the key sequence for detaching (ctrl-p,ctrl-q)")
