"""Credentials for registries, kept where docker keeps them."""

from hostvm.cli.spec import Command, option, switch

LOGIN = Command(
    "login",
    "registry:login",
    "Authenticate to a registry",
    (
        option("username", "u", "string", "Username"),
        option("password", "p", "string", "Password"),
        switch("password-stdin", "", "Take the password from STDIN"),
    ),
    "[SERVER]",
    0,
    1,
    examples=("hostvm login registry.example.org", "echo $TOKEN | hostvm login -u me --password-stdin"),
)
LOGOUT = Command("logout", "registry:logout", "Log out from a registry", (), "[SERVER]", 0, 1)
