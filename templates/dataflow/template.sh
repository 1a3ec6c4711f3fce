#!/usr/bin/env bash
# Builds the image and the Flex Template, or launches a run of it. Needs docker, gcloud, and in the environment
# PROJECT, REGION, REPOSITORY (of Artifact Registry), BUCKET, and TAG, which names the version.
# usage: template.sh build
#        template.sh run NAME=VALUE…    parameters of metadata.json, at least input, model and output
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
image=$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/ig-audit:$TAG
template=gs://$BUCKET/templates/ig-audit-$TAG.json

build() {
  docker build --file templates/dataflow/Dockerfile --tag "$image" .
  docker push "$image"
  gcloud dataflow flex-template build "$template" --project "$PROJECT" \
    --image "$image" --sdk-language PYTHON --metadata-file templates/dataflow/metadata.json
}

run() { # one TensorFlow process, and one chunk at a time, per device; with ^~^ values may contain commas
  local parameters="sdk_container_image=$image~number_of_worker_harness_threads=1" parameter
  for parameter in "$@"; do
    parameters+="~$parameter"
  done
  gcloud dataflow flex-template run "ig-audit-$(date -u +%Y%m%d-%H%M%S)" --project "$PROJECT" --region "$REGION" \
    --template-file-gcs-location "$template" \
    --staging-location "gs://$BUCKET/staging" --temp-location "gs://$BUCKET/temp" \
    --additional-experiments no_use_multiple_sdk_containers \
    --parameters "^~^$parameters"
}

case ${1:-} in
  build) build ;;
  run) run "${@:2}" ;;
  *) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
