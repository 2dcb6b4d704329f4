"""Networks."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import FILTER, FORMAT, INSPECT_FORMAT

LS = Command(
    "network ls",
    "networks:ls",
    "List networks",
    (
        FILTER,
        FORMAT,
        switch("no-trunc", "", "Do not truncate the output"),
        switch("quiet", "q", "Only display network IDs"),
    ),
    examples=("hostvm network ls",),
)
INSPECT = Command(
    "network inspect",
    "inspect:network",
    "Display detailed information on one or more networks",
    (INSPECT_FORMAT, switch("verbose", "v", "Verbose output for diagnostics")),
    "NETWORK [NETWORK...]",
    1,
    None,
    operand="network",
    examples=("hostvm network inspect bridge",),
)
CREATE = Command(
    "network create",
    "networks:create",
    "Create a network",
    (
        switch("attachable", "", "Enable manual container attachment"),
        many("aux-address", "", "string", "Auxiliary IPv4 or IPv6 addresses used by Network driver: name=address"),
        option("config-from", "", "string", "The network from which to copy the configuration"),
        switch("config-only", "", "Create a configuration only network"),
        option("driver", "d", "string", "Driver to manage the Network: bridge, macvlan, ipvlan", "bridge"),
        many("gateway", "", "string", "IPv4 or IPv6 Gateway for the master subnet"),
        switch("ingress", "", "Create swarm routing-mesh network"),
        switch("internal", "", "Restrict external access to the network"),
        many("ip-range", "", "string", "Allocate container ip from a sub-range"),
        option("ipam-driver", "", "string", "IP Address Management Driver", "default"),
        many("ipam-opt", "", "string", "Set IPAM driver specific options"),
        switch("ipv6", "", "Enable IPv6 networking"),
        many("label", "", "label", "Set metadata on a network"),
        many("opt", "o", "string", "Set driver specific options"),
        option("scope", "", "string", "Control the network's scope"),
        many("subnet", "", "string", "Subnet in CIDR format that represents a network segment"),
    ),
    "NETWORK",
    1,
    1,
    examples=(
        "hostvm network create backend",
        "hostvm network create --internal --subnet 10.9.0.0/24 --gateway 10.9.0.1 vault",
        "hostvm network create --ipv6 --subnet fd00:9::/64 six",
    ),
)
RM = Command(
    "network rm",
    "networks:rm",
    "Remove one or more networks",
    (switch("force", "f", "Do not error if the network does not exist"),),
    "NETWORK [NETWORK...]",
    1,
    None,
    operand="network",
    examples=("hostvm network rm backend",),
)
CONNECT = Command(
    "network connect",
    "networks:connect",
    "Connect a container to a network",
    (
        many("alias", "", "string", "Add network-scoped alias for the container"),
        many("driver-opt", "", "string", "driver options for the network"),
        option("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        option("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        many("link", "", "string", "Add link to another container"),
        many("link-local-ip", "", "string", "Add a link-local address for the container"),
    ),
    "NETWORK CONTAINER",
    2,
    2,
    operand="network",
    examples=("hostvm network connect --alias db backend mysql",),
)
DISCONNECT = Command(
    "network disconnect",
    "networks:disconnect",
    "Disconnect a container from a network",
    (switch("force", "f", "Force the container to disconnect from a network"),),
    "NETWORK CONTAINER",
    2,
    2,
    operand="network",
    examples=("hostvm network disconnect backend mysql",),
)
