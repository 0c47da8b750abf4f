# Sourced by what works with the machines of the lab. However they were started, ssh reaches them:
# EDGEMESH_SSH_CONFIG is a file as `vagrant ssh-config` prints it; scripts/vm prints one, too.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sockets=$(mktemp -d)
trap 'end_of_machines' EXIT
edges=(edge-1 edge-2)
# Machines that are emulated, several on one processor, are slow.
patience_seconds=${EDGEMESH_PATIENCE_SECONDS:-240}

if [ -z "${EDGEMESH_SSH_CONFIG:-}" ]; then
  EDGEMESH_SSH_CONFIG=$sockets/config
  (cd "$here" && vagrant ssh-config) > "$EDGEMESH_SSH_CONFIG"
fi

reach() { ssh -F "$EDGEMESH_SSH_CONFIG" -o ControlPath="$sockets/%n" -o ConnectTimeout=30 "$@"; }

end_of_machines() {
  local socket
  for socket in "$sockets"/*; do
    if [ -S "$socket" ]; then reach -q -O exit "$(basename "$socket")" 2>/dev/null || true; fi
  done
  rm -rf "$sockets"
}

# on MACHINE COMMAND: run a line of shell there, as root.
on() { reach -o ControlMaster=auto -o ControlPersist=300 -o ServerAliveInterval=15 "$1" "sudo bash -c $(printf %q "$2")" < /dev/null; }

# give MACHINE FILE: write what comes on standard input to a file there.
give() { reach "$1" "sudo sh -c 'umask 077; cat > $2'"; }

say() { printf '%s\n' "$*"; }

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# expect SENTENCE EXTENDED-REGULAR-EXPRESSION MACHINE COMMAND: what the command prints must match, at
# once or after a while: states are waited for, and what was seen last is told where they do not come.
expect() {
  local seen deadline=$((SECONDS + patience_seconds)) begun=$SECONDS
  until seen=$(timeout 120 bash -c "$(declare -f reach on); on \"\$@\"" - "$3" "$4" 2>&1) && grep -Eq -- "$2" <<< "$seen"; do
    [ $SECONDS -lt $deadline ] || fail "$1: expected /$2/ from \`$4\` on $3, and saw: $seen"
    sleep 1
  done
  say "  ok  $1 ($((SECONDS - begun)) s)"
}
export EDGEMESH_SSH_CONFIG sockets
