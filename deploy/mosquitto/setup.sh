#!/bin/sh
# A secured mosquitto for edge-fer: an authority of its own, a certificate of the broker, users with generated passwords.
# It can be run again at any time: what is there stays, what is missing is added. Only --force replaces.
set -eu

usage() {
    cat <<'END'
setup.sh --host NAME_OR_IP [--host ...] [--node ID ...]   make what is missing: authority, certificate, users
setup.sh --node ID [--node ...]                           add boards
setup.sh --renew [--host NAME_OR_IP ...]                  a new certificate of the broker, by the same authority

  --host NAME_OR_IP  as boards and dashboards write it in their configuration; the certificate is for all of them
  --node ID          a board: its user name is its node id (a-z, 0-9, hyphen)
  --renew            make a new certificate although there is one; without --host for the same names
  --force            replace authority, certificate and passwords: every board needs the new ones then
  --dir DIR          where to (/etc/mosquitto/edge-fer)
  --group GROUP      who may read the broker's key, besides the owner (mosquitto)
END
}

fail() {
    echo "setup.sh: $1" >&2
    exit "${2:-2}"
}

here=$(cd "$(dirname "$0")" && pwd)
dir=/etc/mosquitto/edge-fer
group=mosquitto
hosts=
nodes=
renew=
force=
while [ $# -gt 0 ]; do
    case $1 in
    --host | --node | --dir | --group)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --host)
            printf %s "$2" | grep -Eqx '[A-Za-z0-9:][A-Za-z0-9.:-]*' || fail "--host: '$2' is neither a host name nor an IP address"
            hosts="$hosts $2"
            ;;
        --node)
            printf %s "$2" | grep -Eqx '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?' || fail "--node: '$2' must be of a-z, 0-9 and hyphens, at most 63 characters"
            case $2 in dashboard | homeassistant | watcher) fail "--node: '$2' is the name of a user that is no board" ;; esac
            nodes="$nodes $2"
            ;;
        --dir) dir=$2 ;;
        --group) group=$2 ;;
        esac
        shift 2
        ;;
    --renew) renew=1 && shift ;;
    --force) force=1 && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option '$1'" ;;
    esac
done
for program in openssl mosquitto_passwd; do
    command -v "$program" >/dev/null || fail "$program is missing: apt install openssl mosquitto" 69
done
getent group "$group" >/dev/null || fail "there is no group '$group': install mosquitto first, or give --group" 69

umask 077
mkdir -p "$dir/passwords.d"
chgrp "$group" "$dir" && chmod 750 "$dir"
work=$(mktemp -d "$dir/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Put a finished file in its place, whole, readable as it should be.
place() { # from, to, mode
    chgrp "$group" "$1" && chmod "$3" "$1" && mv "$1" "$2"
}

make_authority() {
    # A configuration of its own: that of the machine may add extensions twice.
    cat >"$work/ca.cnf" <<'END'
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
CN = edge-fer broker authority
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -config "$work/ca.cnf" \
        -keyout "$work/ca.key" -out "$work/ca.crt" 2>"$work/log" || { cat "$work/log" >&2 && fail "openssl made no authority" 1; }
    place "$work/ca.key" "$dir/ca.key" 600
    place "$work/ca.crt" "$dir/ca.crt" 644
    echo "made an authority: $dir/ca.crt (10 years)"
}

make_certificate() {
    names=
    for host in $hosts; do
        case $host in
        *:*) names="$names,IP:$host" ;;
        *[!0-9.]*) names="$names,DNS:$host" ;;
        *) names="$names,IP:$host" ;;
        esac
    done
    if [ -n "$names" ]; then
        printf '%s\n' "${names#,}" >"$work/names"
    elif [ -f "$dir/server.names" ]; then
        cp "$dir/server.names" "$work/names"
    else
        fail "--host is missing: what boards and dashboards write for this broker (name, IP address or both)"
    fi
    cat >"$work/extensions" <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $(cat "$work/names")
END
    {
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=edge-fer broker" \
            -keyout "$work/server.key" -out "$work/server.csr" &&
            openssl x509 -req -in "$work/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days 825 \
                -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$work/server.crt"
    } 2>"$work/log" || { cat "$work/log" >&2 && fail "openssl made no certificate" 1; }
    place "$work/server.key" "$dir/server.key" 640
    place "$work/server.crt" "$dir/server.crt" 644
    place "$work/names" "$dir/server.names" 644
    echo "made a certificate of the broker for $(cat "$dir/server.names") (825 days)"
}

# The password goes through files and never through the arguments of a program, which everyone can see.
make_user() { # name
    openssl rand -base64 24 | tr '+/' '-_' >"$work/password"
    printf '%s:%s\n' "$1" "$(cat "$work/password")" >"$work/hashed"
    mosquitto_passwd -U "$work/hashed"
    if [ -f "$dir/passwords" ]; then
        # 1: no line is left. Anything else must not cost the other users their passwords.
        grep -v "^$1:" "$dir/passwords" >"$work/passwords" || [ $? -eq 1 ] || fail "$dir/passwords cannot be read" 1
    else
        : >"$work/passwords"
    fi
    cat "$work/hashed" >>"$work/passwords"
    place "$work/passwords" "$dir/passwords" 640
    chmod 600 "$work/password" && mv "$work/password" "$dir/passwords.d/$1"
    echo "made user $1: its password is in $dir/passwords.d/$1"
}

has_user() { # name
    [ -f "$dir/passwords" ] && grep -q "^$1:" "$dir/passwords"
}

new_authority=
if [ -n "$force" ] || [ ! -f "$dir/ca.crt" ] || [ ! -f "$dir/ca.key" ]; then
    [ -n "$hosts" ] || [ -f "$dir/server.names" ] || { usage >&2 && fail "--host is missing"; }
    # Half an authority is one whose key is kept elsewhere: a new one would lock every board out.
    [ -n "$force" ] || [ ! -f "$dir/ca.crt" ] || [ -f "$dir/server.crt" ] || fail "$dir/ca.crt is there without ca.key"
    if [ -n "$force" ] || [ ! -f "$dir/ca.crt" ]; then
        make_authority
        new_authority=1
    fi
fi
if [ -n "$new_authority$renew" ] || [ ! -f "$dir/server.crt" ] || [ ! -f "$dir/server.key" ]; then
    [ -f "$dir/ca.key" ] || fail "$dir/ca.key is not here: put it back for as long as a certificate is made"
    make_certificate
elif [ -n "$hosts" ]; then
    wanted=$(for host in $hosts; do printf '%s\n' "$host"; done)
    for host in $wanted; do
        tr ',' '\n' <"$dir/server.names" | grep -Fqx -e "DNS:$host" -e "IP:$host" ||
            fail "the certificate is not for '$host' but for $(cat "$dir/server.names"): --renew with all --host makes another"
    done
fi
for user in dashboard homeassistant watcher $nodes; do
    if [ -n "$force" ] || ! has_user "$user"; then
        make_user "$user"
    fi
done
if [ -n "$force" ] || [ ! -f "$dir/acl" ]; then
    cp "$here/acl" "$work/acl"
    place "$work/acl" "$dir/acl" 640
    echo "copied the access list: $dir/acl"
fi

first=${nodes# }
first=${first%% *}
host=$(sed 's/^[A-Z]*:\([^,]*\).*/\1/' "$dir/server.names")
cat <<END

Next:
  cp $here/edge-fer.conf /etc/mosquitto/conf.d/        once
  systemctl restart mosquitto                          once; \`systemctl reload mosquitto\` is enough for new users
For each board: its file of $dir/passwords.d and $dir/ca.crt go to it, and into its configuration
  [broker]
  url = "mqtts://${first:-NODE}@$host"
  ca_file = "/etc/edge-fer/ca.crt"
  password_file = "/etc/edge-fer/password"
Take $dir/ca.key and passwords.d off this machine when all boards have theirs; ca.key is needed to renew.
END
