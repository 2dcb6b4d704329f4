"""The files of the `mariadb` recipe."""

#: As the hub's image: reachable from outside the container, no waiting for reverse look-ups.
SERVER_CONFIGURATION = """\
[mariadbd]
bind-address = 0.0.0.0
port = 3306
skip-name-resolve
host-cache-size = 0
"""

#: The hub image's contract: these variables, or the same with _FILE for a file that holds the value, and scripts in
#: /docker-entrypoint-initdb.d. The server's own --bootstrap mode reads SQL from its input, so that no second server
#: has to be started, waited for and stopped.
ENTRYPOINT = r"""#!/bin/sh
# Starts mariadbd; makes the data folder first where there is none.
set -eu
data=/var/lib/mysql

fail() {
    echo >&2 "error: $1"
    exit 1
}

# The value of MARIADB_$1 or MYSQL_$1, or of the file that MARIADB_$1_FILE or MYSQL_$1_FILE names.
setting() {
    eval "value=\${MARIADB_$1:-\${MYSQL_$1:-}}; file=\${MARIADB_$1_FILE:-\${MYSQL_$1_FILE:-}}"
    if [ -z "$value" ] && [ -n "$file" ]; then
        value=$(cat "$file")
    fi
    printf '%s' "$value"
}

# SQL string literal.
quote() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"
}

# SQL identifier.
name() {
    # shellcheck disable=SC2016  # these are SQL's backticks
    printf '`%s`' "$(printf '%s' "$1" | sed 's/`/``/g')"
}

choose_root_password() {
    root_password=$(setting ROOT_PASSWORD)
    if [ -n "$root_password" ] || [ -n "$(setting ALLOW_EMPTY_ROOT_PASSWORD)$(setting ALLOW_EMPTY_PASSWORD)" ]; then
        return
    fi
    if [ -z "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        echo >&2 "error: database is uninitialized and password option is not specified"
        fail "give one of MARIADB_ROOT_PASSWORD, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD"
    fi
    root_password=$(head -c 24 /dev/urandom | base64)
    say "GENERATED ROOT PASSWORD: $root_password"
}

# A line as it is: `echo` of sh understands backslashes.
say() {
    printf '%s\n' "$1"
}

statements() {
    root_host=$(setting ROOT_HOST)
    database=$(setting DATABASE)
    user=$(setting USER)
    # mariadb-install-db makes roots without a password for 127.0.0.1, ::1 and the build's host name as well.
    say "USE mysql;"
    say "DELETE FROM global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');"
    say "DELETE FROM proxies_priv WHERE Host <> 'localhost';"
    say "FLUSH PRIVILEGES;"
    say "ALTER USER 'root'@'localhost' IDENTIFIED BY $(quote "$root_password");"
    if [ "${root_host:-%}" != localhost ]; then
        host=$(quote "${root_host:-%}")
        say "CREATE USER 'root'@$host IDENTIFIED BY $(quote "$root_password");"
        say "GRANT ALL ON *.* TO 'root'@$host WITH GRANT OPTION;"
    fi
    if [ -n "$database" ]; then
        say "CREATE DATABASE IF NOT EXISTS $(name "$database");"
    fi
    if [ -n "$user" ]; then
        say "CREATE USER $(quote "$user")@'%' IDENTIFIED BY $(quote "$(setting PASSWORD)");"
    fi
    if [ -n "$user" ] && [ -n "$database" ]; then
        say "GRANT ALL ON $(name "$database").* TO $(quote "$user")@'%';"
    fi
}

initialise() {
    choose_root_password
    echo "Initializing database files"
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=normal \
        --skip-name-resolve > /dev/null
    statements | mariadbd --user=mysql --datadir="$data" --bootstrap --skip-log-bin --silent-startup
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [ -e "$script" ] || continue
        echo "Running $script"
        { [ -z "$(setting DATABASE)" ] || say "USE $(name "$(setting DATABASE)");"; cat "$script"; } |
            mariadbd --user=mysql --datadir="$data" --bootstrap --skip-log-bin --silent-startup
    done
    echo "Database files initialized"
}

case ${1:-mariadbd} in
    -*) set -- mariadbd "$@" ;;
    mysqld) shift; set -- mariadbd "$@" ;;
esac

if [ "$1" = mariadbd ]; then
    install -d -o mysql -g mysql /run/mysqld "$data"
    if [ ! -d "$data/mysql" ]; then
        initialise
    fi
    shift
    set -- mariadbd --user=mysql "$@"
fi
exec "$@"
"""
