"""A task of a pipeline: a plain function that Airflow's @task, Prefect's @task or a cron job can call.

A refusal is final, so the task should fail without being tried again; a full queue or a server that is away is worth another try.
Both are exceptions of their own, so that the pipeline's retry rules can tell them apart:

    @task(retries=3, retry_condition_fn=lambda task, run, state: is_worth_another_try(state))   # Prefect
    raise AirflowFailException(str(error)) from error                                           # Airflow, for Refused
"""

import os
import subprocess
import sys

import sluice


def is_worth_another_try(error: Exception) -> bool:
    """What another attempt may change: the queue was full, it waited in vain, or the server was away."""
    return isinstance(error, (sluice.QueueFull, sluice.TimedOut, sluice.Unreachable))


def transcribe(audio: str, run_id: str) -> str:
    """Runs a program in a process of its own on 4 GiB of one GPU, and answers what it wrote.

    run_id is the pipeline's own id of this attempt: a task that is restarted in the middle of a wait finds its place again.
    """
    resources = sluice.connect().resources(
        name="transcribe",
        vram_mb=4096,
        timeout=3600,
        request_id=f"transcribe-{run_id}",
        # Tasks of one worker process share its environment, so the child gets its own.
        set_environment=False,
    )
    with resources as lease:
        command = [sys.executable, "-c", "import os; print('on', os.environ['CUDA_VISIBLE_DEVICES'])", audio]
        done = subprocess.run(command, env={**os.environ, **lease.env}, check=True, capture_output=True, text=True)
        return done.stdout.strip()


if __name__ == "__main__":
    print(transcribe("talk.wav", run_id="by-hand"))
