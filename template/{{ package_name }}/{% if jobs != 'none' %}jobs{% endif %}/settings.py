"""The settings of jobs."""

from pydantic import Field, FiniteFloat

from ..environment import Environment


class JobsSettings(Environment):
    jobs_concurrency: int = Field(
        default=8, ge=2, le=1000, description="Jobs that a worker runs at once"
    )
    jobs_attempts: int = Field(
        default=20, ge=1, le=1000, description="Attempts after which a failing job is dead"
    )
    jobs_heartbeat: FiniteFloat = Field(
        default=30,
        ge=1,
        le=3600,
        description="Seconds without a heartbeat after which another worker takes over a job",
    )
    worker_port: int = Field(
        default=8001, ge=1, le=65535, description="Port on which a worker answers probes"
    )
