#!/usr/bin/env bash
# Builds both images and runs them for real: the service answers as a non-root user on a read-only root file system,
# and the training image makes a small model. Set DOCKER_ARGS for what your engine needs, such as "--network host".
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info >/dev/null 2>&1; then
  echo "skipped: no Docker engine answers here"
  exit 0
fi
build=(docker build --quiet --network host)
name=brink-test-$$
port=${PORT:-18000}
models=$(mktemp -d)
cleanup() { docker rm -f "$name" >/dev/null 2>&1 || true; rm -rf "$models"; }
trap cleanup EXIT

"${build[@]}" --target serve -t brink:test . >/dev/null
"${build[@]}" --target train -t brink-train:test . >/dev/null
base=$(docker image inspect -f '{{.Size}}' "$(sed -n 's/^ARG BASE=//p' Dockerfile)")
for image in brink:test brink-train:test; do
  size=$(docker image inspect -f '{{.Size}}' "$image")
  echo "$image: $(((size - base) / 1000000)) MB over its base image"
done

docker run --rm --entrypoint python brink:test -c '
import importlib.util as u, shutil
found = [name for name in ("torch", "transformers", "datasets") if u.find_spec(name)] + [c for c in ("gcc", "cc") if shutil.which(c)]
raise SystemExit(f"the serving image holds {found}" if found else 0)'

docker run -d --name "$name" --read-only --network host --cap-drop ALL --security-opt no-new-privileges \
  -e BRINK_HOST=127.0.0.1 -e BRINK_PORT="$port" brink:test >/dev/null
for _ in $(seq 100); do curl -fs "http://127.0.0.1:$port/readyz" >/dev/null && break; sleep 0.1; done
answer=$(curl -fsS "http://127.0.0.1:$port/v1/predict" -H 'content-type: application/json' \
  -d '{"text": "Any aircraft that enters our airspace armed will be shot down."}')
echo "$answer"
grep -q '"label":"deterrent"' <<<"$answer"
[[ $(docker exec "$name" python -c 'import os; print(os.getuid())') == 10001 ]]
if docker exec "$name" python -c 'open("/x", "w")' 2>/dev/null; then
  echo "the root file system is not read-only" >&2
  exit 1
fi
for _ in $(seq 30); do
  [[ $(docker inspect -f '{{.State.Health.Status}}' "$name") == healthy ]] && break
  sleep 1
done
[[ $(docker inspect -f '{{.State.Health.Status}}' "$name") == healthy ]]
docker stop -t 30 "$name" >/dev/null
[[ $(docker inspect -f '{{.State.ExitCode}}' "$name") == 0 ]]

chmod 777 "$models"
docker run --rm --network none -v "$models:/models" brink-train:test \
  fit --data /data/statements/europe.jsonl --out /models/small --epochs 1
test -s "$models/small/manifest.json"
docker run --rm --network none -v "$models:/models:ro" brink-train:test \
  evaluate --model /models/small --data /data/statements/africa.jsonl
echo "both images work"
