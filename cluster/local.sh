#!/usr/bin/env bash
# A Ray cluster of one node on this machine, with token authentication, for `ray job submit`.
#   cluster/local.sh start | stop | env        (eval "$(cluster/local.sh env)" makes this shell a client of it)
set -euo pipefail
cd "$(dirname "$0")/.."

home="${T2A_HOME:-$HOME/.t2a}"
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$home/ray_token"
dashboard="${T2A_DASHBOARD_PORT:-8265}"
gcs="${T2A_GCS_PORT:-6379}"
pidfile="$home/ray.pid"

case "${1:-}" in
start)
  mkdir -p "$home"
  if [ -e "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; then
    echo "a cluster is running already (pid $(cat "$pidfile")): cluster/local.sh stop ends it" >&2; exit 1
  fi
  [ -s "$RAY_AUTH_TOKEN_PATH" ] || (umask 077; .venv/bin/python -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH")
  # More logical CPUs than cores: workers, Ray Data and trial drivers each hold a slot, and most of them wait.
  # Ray warns of four times as many processes as may start at once; by default that is one a core.
  export RAY_worker_maximum_startup_concurrency="${T2A_LOGICAL_CPUS:-4}"
  # `ray job stop` gives a training this long to save a checkpoint and leave; Ray's own 3 s are too few.
  export RAY_JOB_STOP_WAIT_TIME_S="${RAY_JOB_STOP_WAIT_TIME_S:-120}"
  # `python` of a submitted job has to be the one that has t2a's libraries.
  PATH="$PWD/.venv/bin:$PATH" setsid .venv/bin/ray start --head --block --node-ip-address=127.0.0.1 --port="$gcs" \
    --dashboard-host=127.0.0.1 --dashboard-port="$dashboard" --num-cpus="${T2A_LOGICAL_CPUS:-4}" \
    --disable-usage-stats > "$home/ray.log" 2>&1 < /dev/null &
  echo $! > "$pidfile"
  for _ in $(seq 60); do
    kill -0 "$(cat "$pidfile")" 2>/dev/null || { tail -5 "$home/ray.log" >&2; rm "$pidfile"; exit 1; }
    .venv/bin/ray job list --address "http://127.0.0.1:$dashboard" > /dev/null 2>&1 && break
    sleep 1
  done
  echo "Ray listens on http://127.0.0.1:$dashboard; its token lies in $RAY_AUTH_TOKEN_PATH"
  echo 'eval "$(cluster/local.sh env)" && ray job submit --working-dir . -- python jobs/train.py RECIPE'
  ;;
stop)
  [ -e "$pidfile" ] || { echo "no cluster of this script is running" >&2; exit 1; }
  # The whole process group of ours, and no other Ray of the machine.
  kill -TERM -- "-$(cat "$pidfile")" 2>/dev/null || true
  for _ in $(seq 30); do kill -0 -- "-$(cat "$pidfile")" 2>/dev/null || break; sleep 0.5; done
  kill -KILL -- "-$(cat "$pidfile")" 2>/dev/null || true
  rm -f "$pidfile"
  ;;
env)
  echo "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH='$RAY_AUTH_TOKEN_PATH' RAY_API_SERVER_ADDRESS=http://127.0.0.1:$dashboard PATH='$PWD/.venv/bin':\"\$PATH\""
  ;;
*)
  sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,3p' >&2; exit 2
  ;;
esac
