"""Nightly audit: the run, an alert on drift or failure, and the deletion of nights older than 90 days.

Airflow's worker must have ig-audit; to run it in a container instead, give `command` to a KubernetesPodOperator.
"""

import os
import subprocess
import urllib.request
from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

ROOT = os.environ.get("IG_AUDIT_ROOT", "/var/lib/ig-audit")
FINAL = {2: "unusable options or input", 3: "drift", 4: "too many failing images"}  # the same at every attempt


def alert(context):
    """Posts the reason of the failure to IG_AUDIT_ALERT_URL."""
    text = f"ig-audit, {context['ds']}: {context['exception']}"
    with urllib.request.urlopen(os.environ["IG_AUDIT_ALERT_URL"], text.encode(), timeout=60):
        pass


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
)
def ig_audit():
    """Audits the data of the day; a retry resumes in the directory of the same day."""

    @task(retries=3, retry_delay=timedelta(minutes=5), on_failure_callback=alert)
    def run(ds=None):
        """Runs the audit, and compares with the approved runs."""
        command = ["ig-audit", "run", "--config", "/etc/ig-audit/audit.yaml", "--effort", "audit", "--resume"]
        command += ["--output", f"{ROOT}/nights/{ds}", "--reference", f"{ROOT}/approved"]
        code = subprocess.run(command, check=False).returncode
        if code in FINAL:
            raise AirflowFailException(FINAL[code])
        if code:
            raise AirflowException(f"the job failed with exit code {code}; the next attempt resumes it")

    @task.bash(trigger_rule="all_done")
    def forget():
        """Deletes old nights; approved runs are kept elsewhere."""
        return f"find {ROOT}/nights -mindepth 1 -maxdepth 1 -type d -mtime +90 -exec rm -r {{}} +"

    run() >> forget()


ig_audit()
