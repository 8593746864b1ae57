"""The tables of the queue."""

from tortoise import fields
from tortoise.models import Model

# The states of a job
QUEUED = "queued"  # it waits until it is due
SENT = "sent"  # Redis has its id, and no worker has claimed it
RUNNING = "running"
DEAD = "dead"


class QueuedJob(Model):
    # a job, until it is done; no docstring, which Tortoise would write into the table
    id = fields.BigIntField(primary_key=True)
    name = fields.CharField(max_length=200)
    arguments = fields.TextField()
    headers: fields.JSONField[dict[str, str]] = fields.JSONField()
    state = fields.CharField(max_length=10)
    due_at = fields.DatetimeField()
    created_at = fields.DatetimeField()
    attempts = fields.IntField(default=0)
    worker = fields.CharField(max_length=32, null=True)
    # when a sent job is sent again, or a running attempt has failed; heartbeats postpone it
    expires_at = fields.DatetimeField(null=True)
    # the name of a scheduled job while it is queued or running, so that it is queued once
    only = fields.CharField(max_length=200, null=True, unique=True)
    is_scheduled = fields.BooleanField(default=False)
    error = fields.TextField(null=True)

    class Meta:
        table = "queued_jobs"
        indexes = (("state", "due_at"),)


class JobSchedule(Model):
    # the next time of a scheduled job
    name = fields.CharField(max_length=200, primary_key=True)
    expression = fields.CharField(max_length=200)
    next_at = fields.DatetimeField()

    class Meta:
        table = "job_schedules"
