from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        CREATE TABLE IF NOT EXISTS "users" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "username" VARCHAR(50) NOT NULL UNIQUE,
    "email" VARCHAR(100) NOT NULL UNIQUE,
    "hashed_password" VARCHAR(255) NOT NULL,
    "is_active" BOOL NOT NULL DEFAULT True,
    "is_admin" BOOL NOT NULL DEFAULT False,
    "is_verified" BOOL NOT NULL DEFAULT False,
    "created_at" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_login_at" TIMESTAMPTZ
);
CREATE INDEX IF NOT EXISTS "idx_users_is_admi_70b49f" ON "users" ("is_admin");
CREATE TABLE IF NOT EXISTS "link_tokens" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "token_hash" VARCHAR(64) NOT NULL UNIQUE,
    "purpose" VARCHAR(20) NOT NULL,
    "email" VARCHAR(100) NOT NULL,
    "expires_at" TIMESTAMPTZ NOT NULL,
    "user_id" BIGINT NOT NULL REFERENCES "users" ("id") ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS "idx_link_tokens_user_id_5b6b8b" ON "link_tokens" ("user_id");
CREATE TABLE IF NOT EXISTS "sessions" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "token_hash" VARCHAR(64) NOT NULL UNIQUE,
    "device" VARCHAR(200) NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "last_used_at" TIMESTAMPTZ NOT NULL,
    "expires_at" TIMESTAMPTZ NOT NULL,
    "user_id" BIGINT NOT NULL REFERENCES "users" ("id") ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS "idx_sessions_user_id_80072d" ON "sessions" ("user_id");
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
    "eJztmm1z4jYQgP8K40+5mfSGczCk/QY50qOXQCf42s51Oh5hK0aDLfksOYS55r9Xkt/fCN"
    "CQgI9veFdrSc9a0u6K74pLLOjQ9zcIL3SygFj5pfVdwcCF/EdZed5SgOelKiFgYObI1g5v"
    "ZjDRTsrBjDIfmIyr7oFDIRdZkJo+8hgioh8cOI4QEpM3RNhORQFG3wLI32VDNoc+V/z9Dx"
    "cjbMFHSONHb2HcI+hYuSEjS/Qt5QZbeVI2QPYIs2vZVnQ4M0ziBC5O23srNic4MUCYCakN"
    "MfQBg6IH5gdiBmKA0XzjSYWDTZuEo8zYWPAeBA7LzHhmpDLFMMYT3ZgOdcNQtmBkEiz48q"
    "FSCcAWQ/jpZ1W9uOip7Yvupdbp9bTL9iVvK8dbVvWewsGktMJXSWajX0djXQyIcCeGDhaC"
    "J2kDGAitpDNS+tL7xhzQedkLV3PgV/sgb1XwBZ9k0Rcx+cN1hgseDQdim835Y7ezhvMf/b"
    "urT/27s27nXR72ONKoUiWwp5i9wPcIhdswzpi8DOBYkBJOV/mrI1bbGyBW27WIhSqPGLoA"
    "OdsATgwaiPdDexO+vFUtYKkrEH70kA+pAVgZ80dOiiEX1qDOWRZ4W5Hp+/jHEdJfA1sf3Q"
    "6nev/2d/F6l9JvjuTV14dCo0rpqiA96xb8kryk9edI/9QSj62vk/FQ4iSU2b7sMW2nf1XE"
    "mEDAiIHJ0gBWlkksjkU5NwcU+sa2p3LG6PmjeTeHNvNwFnHR/aLybBZMy164Jj5ENv4MV9"
    "ITIz5ugM2qcyIKBr9ErzkuDzzFX1gsTfv3wTKJI7MfHp86nzBk4b7fn171Pw4VCXgGzMUS"
    "+JaRIy00RCUFSdK2rHJVtygBGNiSjZiFGHMEfQopDWdcCs5j1drQnIaNTnF5g5f+KS5/87"
    "jcgg/I3CosTy0aGDaqG4WN6pqwUS2HjaYPBY8dwsa85SlsPOiw0QGUGfw03sXRRduTqw/a"
    "1adE8Idw8ykRPCWCb++BI08EJfSKLDB2Rn0KKCZ0yv8avOLP1+R/wvnyd8kH9alJ1qZxuZ"
    "+2SWai1Scm2sFdGBwQ3L1cF4gyBI/oPUDpkvgVu0k96QrTJmbbmrZJtq1p9dm20OWpIx5c"
    "mww9VOwcA0IcCHDN9p21K8CeccN90Y4/+iztZCG8dAg+mExuctH3YFTYmcdfbgdD/qlL5L"
    "wRYrkNO8/ZchHeAXNstjfKpY0kwZ6lvG0s8VaYH6CPeC9V4cgzpLOWr/hJHy/tRpbqxmR5"
    "9u7/bNp8atYEO6toZR1Jih9tAs/X7BxiI7xr0S5r/AJejwZ9KOf1kbi6tppTqinU58CZjy"
    "L/r8DClhsZX3++gw5g0T1mdb0h9y/EI4vU6qoOueWTvaTdHVPmPrgpkPZZUOnzQ92cKxUl"
    "lUhzvq6oAtI2B1NV+VFKKuqHTq9zedHtJJWURLKugPJ8sYTHefEK2jTDzJicMsvNMkuxqL"
    "YgHDVvIN29VEt4jwziiiDst+lkXBNzpybF0AuZrPVvy0H0ha5cDiXqEjByAVfM9Oy2/1cR"
    "99XNZFCMpMQLBlW3La95O/D0H6CE3Ms="
)
