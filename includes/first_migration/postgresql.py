from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        CREATE TABLE IF NOT EXISTS "users" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "username" VARCHAR(50) NOT NULL UNIQUE,
    "email" VARCHAR(100) NOT NULL UNIQUE,
    "hashed_password" VARCHAR(255) NOT NULL
);
CREATE TABLE IF NOT EXISTS "aerich" (
    "id" SERIAL NOT NULL PRIMARY KEY,
    "version" VARCHAR(255) NOT NULL,
    "app" VARCHAR(100) NOT NULL,
    "content" JSONB NOT NULL
);"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        """


MODELS_STATE = (
    "eJztlm1v2jAQx78KyqtO2qY0kML2DtAemDaQWjZNmibLJCaxcOw0dtZWbb77fA7gPAAr0h"
    "66bu/I/+7su9/Jd9w6iQgJk88/SpI5Lzu3DscJ0T9q+tOOg9PUqiAovGDGMdceRsELqTIc"
    "KC0uMZNESyGRQUZTRQXXKs8ZA1EE2pHyyEo5p5c5QUpERMUmkS9ftUx5SK6J3HymK7SkhI"
    "W1PGkIdxsdqZvUaCMaTbh6bXzhwgUKBMsTbv3TGxULvg2gXIEaEU4yrAjcoLIcKoAE15Vu"
    "iiqTtS5llpWYkCxxzlSl4gWymoPQdDZHF6/mCDlHMAoEB746VWkARJDCsxee1+32Pbd7Nv"
    "B7/b4/cAfa1+TbNvWLMhlLqzzKMJu8mUznkJDQTSxbC0JhYrDCZZRphqUPzTe/Wz0Yxzjb"
    "3YFqTKMPusBmHzbUH24jEnyNGOGRivWn7x5g/Gl4Pn47PD/x3Sd10NO1xTMmQG4RkwRTdg"
    "zfbcCjg3vq3oeu9tqL19jqfGMsYxKiFEt5JbId02Q/6R2hP4f5RrDQ7UT97dQ9378Hde21"
    "l7qxFQXM8OWqMkdAWOBgdYWzELUswhP7fNumxEuaCuY4MuygSKhgvdKGJKNBvGvZrS0H1x"
    "22Pg9m3/0ry8477fV7g+5Zb7vjtsqh1fbjNfZN/4WBlI54+5WQ/29+/5uvTlp4VEcQXrs/"
    "Qrq/ZI/pGxUpn3ad8LuL2XQ34UpIg3JIA9W56zAqW7PiL6B9AC7AgJMTKS9ZlenJh+HnJu"
    "7x+9nIwBFSRZk5xRww+tPLrPgOdHdZlg=="
)
