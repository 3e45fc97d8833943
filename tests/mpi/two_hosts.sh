#!/bin/sh
# The cases of tests/mpi over two hosts: two network namespaces of this machine
# with host names and addresses of their own, joined by a virtual cable. mpirun
# runs on the first; its remote shell is a script that enters the second. 77
# where namespaces can't be made.
set -u
dir=$(mktemp -d)
a=fpa$$ b=fpb$$
skip() { echo "skipped: $*"; exit 77; }

cleanup() {
    ip netns del $a 2>/dev/null
    ip netns del $b 2>/dev/null
    rm -rf "$dir"
}
[ "${FORKPOOL_TEST_FULL-0}" = 1 ] || skip "run with FORKPOOL_TEST_FULL=1"
[ "$(id -u)" -eq 0 ] || skip "only root makes network namespaces"
for tool in ip unshare mpirun hostname; do
    command -v $tool >/dev/null 2>&1 || skip "no $tool"
done
trap cleanup EXIT
ip netns add $a 2>"$dir/why" || skip "ip netns add: $(cat "$dir/why")"
ip netns add $b || exit 1
ip link add va$$ netns $a type veth peer name vb$$ netns $b 2>"$dir/why" ||
    skip "ip link add: $(cat "$dir/why")"
for side in "$a va$$ 10.77.0.1" "$b vb$$ 10.77.0.2"; do
    # shellcheck disable=SC2086 # three words
    set -- $side
    ip -n $1 addr add $3/24 dev $2 && ip -n $1 link set $2 up &&
        ip -n $1 link set lo up || exit 1
done

# on NAMESPACE HOSTNAME COMMAND...
cat >"$dir/on" <<'END'
#!/bin/sh
ns=$1 name=$2
shift 2
exec ip netns exec "$ns" unshare --uts sh -c 'hostname "$0"; exec "$@"' "$name" "$@"
END
# What mpirun calls in place of ssh: a host, then a command for its shell.
cat >"$dir/agent" <<END
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
[ "\$1" = 10.77.0.2 ] || { echo "agent: host \$1?" >&2; exit 1; }
shift
exec "$dir/on" $b hostb sh -c "\$*"
END
chmod +x "$dir/on" "$dir/agent"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
MPI_TEST_DIR=$dir/files
MPI_TEST_PLUGIN=${MPI_TEST_PLUGIN-$dir/plugin.so}
export MPI_TEST_DIR MPI_TEST_PLUGIN
mkdir "$MPI_TEST_DIR"
[ -e "$MPI_TEST_PLUGIN" ] || ${CC-cc} -shared -fPIC \
    "$srcdir/tests/mpi/plugin.c" -o "$MPI_TEST_PLUGIN" || exit 1

job() {
    timeout -k 5 120 "$dir/on" $a hosta mpirun \
        --mca plm_rsh_agent "$dir/agent" --mca btl tcp,self \
        --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 --mca orte_keep_fqdn_hostnames 1 \
        --mca hwloc_base_binding_policy none --oversubscribe \
        -x MPI_TEST_DIR -x MPI_TEST_PLUGIN \
        -x OMPI_ALLOW_RUN_AS_ROOT -x ASAN_OPTIONS "$@"
}
job --host 10.77.0.1:1,10.77.0.2:2 hostname >"$dir/out" 2>"$dir/why" ||
    { cat "$dir/why"; skip "mpirun does not start over the cable"; }
[ "$(sort "$dir/out" | tr '\n' ' ')" = "hosta hostb hostb " ] ||
    { cat "$dir/out"; echo "FAILED: the hosts"; exit 1; }
job --host 10.77.0.1:2,10.77.0.2:2 "$PWD/tests/mpi/cases" >"$dir/out" 2>&1 &&
    grep -q "^ok scatter_dynamic" "$dir/out" ||
    { cat "$dir/out"; echo "FAILED: the cases"; exit 1; }
echo "ok: $(grep -c '^ok' "$dir/out") cases on two hosts"
job --host 10.77.0.1:1,10.77.0.2:1 "$PWD/tests/mpi/small" exit >"$dir/out" 2>&1 &&
    { cat "$dir/out"; echo "FAILED: an exit must end the job"; exit 1; }
grep "forkpool: rank 1 on hostb: task 1 called exit(3)" "$dir/out" ||
    { cat "$dir/out"; echo "FAILED: the exit"; exit 1; }
# The cable carried it.
ip -n $a -s link show va$$ | awk '/RX:/ {getline; print $1 " bytes came over the cable"}'
