from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = False


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        CREATE TABLE "job_schedules" (
    "name" VARCHAR(200) PRIMARY KEY NOT NULL,
    "expression" VARCHAR(200) NOT NULL,
    "next_at" TIMESTAMP NOT NULL
);
        CREATE TABLE "queued_jobs" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "name" VARCHAR(200) NOT NULL,
    "arguments" TEXT NOT NULL,
    "headers" JSON NOT NULL,
    "state" VARCHAR(10) NOT NULL,
    "due_at" TIMESTAMP NOT NULL,
    "created_at" TIMESTAMP NOT NULL,
    "attempts" INT NOT NULL,
    "worker" VARCHAR(32),
    "expires_at" TIMESTAMP,
    "only" VARCHAR(200),
    "is_scheduled" INT NOT NULL,
    "error" TEXT,
    UNIQUE ("only")
);
        CREATE INDEX "idx_queued_jobs_state_252968" ON "queued_jobs" ("state", "due_at");"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        PRAGMA foreign_keys = OFF;
        BEGIN;
        DROP TABLE "queued_jobs";
        DROP TABLE "job_schedules";
        COMMIT;
        PRAGMA foreign_keys = ON;"""


MODELS_STATE = (
    "eJztWlFzmzgQ/iseP6UzvY6D4zi9Nzvntu4kdtuQu04zGY0MCuYCEkGicSb1f68kAwIZOJ"
    "NzEpfmzax20epbab/V4vu2T2zk0TfnFIXtP1v3bQx9xH/k5K9bbRgESioEDM48qRhxDSmB"
    "M8pCaDEuvIIeRVxkI2qFbsBcgrkUR54nhMTiii52lCjC7k2EACMOYnPpyMUlF7vYRgtEk8"
    "fgGly5yLNzfrq2mFvKAbsLpGzoOmPM3kldMeEMWMSLfKz0gzs2Jzg1cDETUgdhFEKGxAws"
    "jMQKhIPxSpNFrZxVKisvMzY2uoKRxzIrngElawMwmZrgbGQC0K6BkUWwwJe7SiUAjnDhj7"
    "eG0e32jU738Kh30O/3jjpHXFf6uz7UX66cUWitXiUxG78fT0zhEOFBXIVWCJbSBjK4spLB"
    "UOiL4MvfazE4nsOwOAJZGy0OfIF6HBLUdzcQPlwAD2GHzfljr1OB8d+DL8cfBl/2ep1Xea"
    "An8YghhwTkCmLkQ9erg29q0Dhw9zuboMu1SuGVY3l855DOkQ0CSOktCQuySTnSBabbwTwR"
    "KNBVRn1y1I1ebwPUuVYp6nJsuRQ5/Oo6k0eEYAat61sY2mBthBikTHd9yDd8XQIxdCR28S"
    "I5ggQoRC8uxapimvtIZmcWj2UkXV9jwexwJRn+S2aAxprPSIp1U3Jj07GxUcYwKjKGkWSM"
    "chJEiyBElApH66TpnFUT88b2sM/sbLRgALJ1oP/iMDHXRyUbXJlpSNux3Zvkxy+IewXM5v"
    "h0dGYOTj+J1/uU3ngSrIE5EiOGlN5p0r1DLSLpS1r/jM0PLfHY+jadjCSchDInlDMqPfNb"
    "W/gEI0YAJrcA2llMEnEielZiyJDA5whFyOa5vogC1GAlAdxINcB54PHT/wVPE3yTyo3DNf"
    "n2vny5Ju3kNel5+bj5rABDJ/KRmG8NZJNn/mKQc0aNQLqKB0ZfzRwFJHjunQ6+vsrRwMl0"
    "8j5Rz+B/fDId6lcnBO24+ZMH/ePZdFJyZVImOhG7Fmv9aHkuXUsyvzb0Aoxq6HWUNVoVL9"
    "ChTzP/piklNWjETtf7Ahu1BSq6AnpCifm0ZpWprF6KzJ0rMrPhtUIkgH9AiPOWL2He6TBD"
    "xpAfFFUFpXVv1uS/q99txbPzuNWvsX/QPzjqHh6kRW8qqap1k7pWAXpLwuvV96BNaUdZPI"
    "h34qvCrhyOPO10jQ1op2uU0o4Y0nr9i8Dl+/8BeSlvuYW8tGPINyktEezd1TlDif5WTlAz"
    "m7OZRgdNG/BFLQ9CPARxSc9DM9XwnnHbxyKAVPK0R2c4nZ7kTs1wrF/7zk+HI148yxBwJZ"
    "flWh6Z1BWGpIAZyq/fqUETiOEpbt47/PlsgELXmrcL2qbxyOuqnilUOjvzF5LfpTH6P0vD"
    "8pbndxTW/SKWMWlgk2Jrn9FzNxx+qGogHKs3EN1H+WsIn5EhXFCLl/c3MyYv/c2a/c1n/Q"
    "y4/AkXVwcN"
)
