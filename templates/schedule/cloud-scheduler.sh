#!/usr/bin/env bash
# Nights on Dataflow: Cloud Scheduler launches the Flex Template at two, and at six a Cloud Run job that compares and
# reports, because nothing waits for a Dataflow job. The Cloud Run job fails with exit code 3 on drift, which an alert
# on failed executions reports. Needs gcloud, and in the environment PROJECT, REGION, REPOSITORY, BUCKET, TAG and
# ACCOUNT (a service account that may launch both).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
image=$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/ig-audit:$TAG
launch=$(sed "s/BUCKET/$BUCKET/g; s/TAG/$TAG/g; s/REGION/$REGION/g; s/PROJECT/$PROJECT/g; s/REPOSITORY/$REPOSITORY/g" launch.json)

gcloud scheduler jobs create http ig-audit-launch --project "$PROJECT" --location "$REGION" \
  --schedule '0 2 * * *' --time-zone Etc/UTC --oauth-service-account-email "$ACCOUNT" \
  --uri "https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch" \
  --http-method POST --headers Content-Type=application/json --message-body "$launch"

# shellcheck disable=SC2016 # the quotes leave the date to the job
judge='night=gs://$BUCKET/nights/$(date -u +%F); approved=gs://$BUCKET/approved
ig-audit report "$night" --reference "$approved" && exec ig-audit compare "$night" "$approved"'
gcloud run jobs create ig-audit-judge --project "$PROJECT" --region "$REGION" --image "$image" \
  --set-env-vars "BUCKET=$BUCKET" --memory 4Gi --max-retries 0 --command sh --args "^~^-c~$judge"
gcloud scheduler jobs create http ig-audit-judge --project "$PROJECT" --location "$REGION" \
  --schedule '0 6 * * *' --time-zone Etc/UTC --oauth-service-account-email "$ACCOUNT" --http-method POST \
  --uri "https://run.googleapis.com/v2/projects/$PROJECT/locations/$REGION/jobs/ig-audit-judge:run"

gcloud storage buckets update "gs://$BUCKET" --lifecycle-file=/dev/stdin <<'JSON'
{"rule": [{"action": {"type": "Delete"}, "condition": {"age": 90, "matchesPrefix": ["nights/"]}}]}
JSON
