"""The tables of the queue."""

from tortoise import fields
from tortoise.models import Model

QUEUED = "queued"  # it waits until it is due
SENT = "sent"  # its id is on its way to a worker, through Redis
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
    # who runs it, and when a sent or running job is lost unless this is postponed
    worker = fields.CharField(max_length=32, null=True)
    expires_at = fields.DatetimeField(null=True)
    # the name of a scheduled job that is queued or running: there is only one of each
    only = fields.CharField(max_length=200, null=True, unique=True)
    is_scheduled = fields.BooleanField(default=False)
    error = fields.TextField(null=True)

    class Meta:
        table = "queued_jobs"
        indexes = (("state", "due_at"),)


class JobSchedule(Model):
    # when a scheduled job is queued next
    name = fields.CharField(max_length=200, primary_key=True)
    expression = fields.CharField(max_length=200)
    next_at = fields.DatetimeField()

    class Meta:
        table = "job_schedules"
