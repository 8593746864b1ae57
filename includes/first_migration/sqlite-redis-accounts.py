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
    "eJztW1tz2jgU/isMT8lMtkMNJNl9g5S0tAnsBne300zGI2wFtNiSa8shmW7++0rC91swhW"
    "Acv4WjcyzpO9K5Kj+bBtGgbr+7QnghkwXEzT8aP5sYGJD9kRw8aTSBaQZDnEDBVBfcOmNT"
    "KOcTdDC1qQVUyobugW5DRtKgrVrIpIjwebCj65xIVMaI8CwgORj9cCD71gzSObTYwO0dIy"
    "OswUdoez/NhXKPoK5Flow0PregK/TJFLQ+mg0xvRS8fMKpohLdMXDAbz7ROcG+AMKUU2cQ"
    "QwtQyGeglsN3wBfo7tfb1GqxActqlSEZDd4DR6ehHU+VgNZUlNFYViYDWVGaBTBSCeb4sq"
    "XaAoAZX8Jvv0tSu30mtdqn593O2Vn3vHXOeMV6k0Nnz6vFBGitPiUwG34cjmS+IMKUuFIw"
    "JzwLGUDBSkooI0BfaF+ZA3ue1MLFHFjpOohKxXTBNhnXhYd8eZVhgEdFh3hG5+znaScH57"
    "97NxefejdHp53jKNgjd0QSQxz2AGbTsUxiwyIYh0S2A7BHCBAObvmrQyy11oBYamVCzIei"
    "EEMDIL0IwL5ABeF931oHX8aVCbAYiyH8aCIL2gqgSZg/MKQoMmAG1BHJGN6aK/rO++MA0c"
    "8BWx5eDyZy7/pP/nnDtn/oAq+ePOAjkqA+xahHpzG9+B9p/DOUPzX4z8b38Wgg4CQ2nVli"
    "xoBP/t7kawIOJQomSwVoYUw8skeKqNmxoaUU9cohoZdd82YKraZz5nHR/SLVN3NMk1q4JB"
    "ZEM/wFPglNDNm6AVbT/IQbDH51P3NYGnj2TphHDea3wNKPI8MHj22dbRjSld3vTS56H8QF"
    "YWfdZ2ecAvIpUBdLYGlKBHs+QiQSo/i8ySFDMuIUgMFMoOXui6FIlADD2zu+M1c1E2jbK1"
    "wSIbw3lBvA2yumOnqvsIGoo/e9R+8afEBqoeA9kKhgcCmtFVxKOcGllAwuVQtyPDYILqOS"
    "dXBZ6uBSBzZVmM/eRNFx2VrVpVZ1nS6+CTXX6WKdLu5fA28iXRSqSckVPZVlJ4p823WWWG"
    "G7cJKTJXLli78TOshOYMIylcsQu+vkL93s9KVbuuZDicDdSeuBFytY3G8C214SK8WaZCOd"
    "IlrFnLzbXScn73azc3I+FkUdsRBcpeghxXL0CdEhwBnmOywXA3vKBHeFtnfow2j7F2HbgX"
    "p/PL6KxOj9Ycwyj75e9wfsqAvIGROiEYMdxVkzEN4AZk9sZygnDIkPexjlorHEvmB+gBZi"
    "s6SFIy8gHZZ8xSN9uGhXsqA3Isuj418x2mxr2hjrT+7NOpBCgGsEXq7s6WSG8KalvbDwFr"
    "TuLros/vpAVJ1Z80lUHrLz4tChiL4wjJlcV/jyyw3UAXW7nelViciLxgOL1LJqE5HrE27l"
    "bg5TqGtcFZBeu8jymUwnKssYHAFTotYSHj7JK7n8S6aK7XLusfRSNPGvbNK/xa5ldqkFPp"
    "pWcAXXLgZEpKqYne6iY4zhI90g1AiJlSq0rKOMglHG1h1DyAn85UAHaszWp7mAYDDXAfwQ"
    "bArzA7s3/7fMTLBDKg4O42TH+64uxpeyGL9ff1x9rwCsmWNAPl8CZJlZ/nSQI0KVQDrPDw"
    "y+yREX4OF5dN37dhxxA1fj0UePPYT/xdW4Hy/QQ6C5LcYo6J8n41FGYT4QiTtipNLGfw0d"
    "2Vt6C1AW6DkY+dDHUY65Vf6BOPS+5V/XpPgClTjp8e7TWs2nnN5T4vHnyp8WjDIDqTrILF"
    "2QWfkyda3muJoBpdAw06KCzLg3LLKrR2pJfbZ2G/1K7ztnnfP2accPen1KXqybbO8sibVI"
    "e2+W7XYCiY38TsnK+VG305bWcDttKdPt8KHS/rNlyZCvklkivBVY4A55/Fu5QdUszkb6/V"
    "4BfoOGf0R03x3/3V+dLXb+oWWRFM+QnX77AlVwDK+Ree+zSnqS3z7rQQup82ZK2dQdOcmr"
    "mYKApzQPld9KYfQXQ8PskucDtIp2xEIiFSxS7OSxJr9UBRB22SuI7k4eILMZKcQpsXh2fT"
    "MkUtc3C9Y399oGfP4fpLih5g=="
)
