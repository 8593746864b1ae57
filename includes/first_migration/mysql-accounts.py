from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        CREATE TABLE IF NOT EXISTS `users` (
    `id` BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `username` VARCHAR(50) COLLATE utf8mb4_bin NOT NULL UNIQUE,
    `email` VARCHAR(100) COLLATE utf8mb4_bin NOT NULL UNIQUE,
    `hashed_password` VARCHAR(255) NOT NULL,
    `is_active` BOOL NOT NULL DEFAULT 1,
    `is_admin` BOOL NOT NULL DEFAULT 0,
    `is_verified` BOOL NOT NULL DEFAULT 0,
    `created_at` DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    `last_login_at` DATETIME(6),
    KEY `idx_users_is_admi_70b49f` (`is_admin`)
) CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS `link_tokens` (
    `id` BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `token_hash` VARCHAR(64) NOT NULL UNIQUE,
    `purpose` VARCHAR(20) NOT NULL,
    `email` VARCHAR(100) NOT NULL,
    `expires_at` DATETIME(6) NOT NULL,
    `user_id` BIGINT NOT NULL,
    CONSTRAINT `fk_link_tok_users_eb6b4869` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) ON DELETE CASCADE,
    KEY `idx_link_tokens_user_id_5b6b8b` (`user_id`)
) CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS `sessions` (
    `id` BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `token_hash` VARCHAR(64) NOT NULL UNIQUE,
    `device` VARCHAR(200) NOT NULL,
    `created_at` DATETIME(6) NOT NULL,
    `last_used_at` DATETIME(6) NOT NULL,
    `expires_at` DATETIME(6) NOT NULL,
    `user_id` BIGINT NOT NULL,
    CONSTRAINT `fk_sessions_users_0c63f6d3` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) ON DELETE CASCADE,
    KEY `idx_sessions_user_id_80072d` (`user_id`)
) CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS `aerich` (
    `id` INT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `version` VARCHAR(255) NOT NULL,
    `app` VARCHAR(100) NOT NULL,
    `content` JSON NOT NULL
) CHARACTER SET utf8mb4;"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        """


MODELS_STATE = (
    "eJztWl1z4jYU/SsMT9mZdId1gNC+AUu6dAl0Att2ttPxCFsYDbbkteQQZpv/Xkn+/gJMSQ"
    "Je3uBeXUs6x5LOvfL3ukV0aNL3I4RXM7KCuP5L7XsdAwvyH1nnda0ObDtyCQMDc1O2Nnkz"
    "lYl20g7mlDlAY9y1ACaF3KRDqjnIZoiIfrBrmsJINN4QYSMyuRh9cyF/lgHZEjrc8fc/3I"
    "ywDp8gDf7aK3WBoKknhox00be0q2xjS1sPGUPM7mRb0eFc1YjpWjhqb2/YkuAwAGEmrAbE"
    "0AEMih6Y44oZiAH68w0m5Q02auKNMhajwwVwTRab8VyNbHVVHU9m6nQwU9V6CYw0ggW+fK"
    "hUAmCIIfz0s6Lc3NwqjZt2p9W8vW11Gh3eVo4367p99gYToeU9SmI2/HU4nokBEU6iR7Aw"
    "PMsYwIAXJcmI0Jfsq0tAl1kW+kvg5HOQjEpxwSeZ5iJA/nTJsMCTakJssCX/225uwfmP7k"
    "P/U/fhqt18lwR77HsU6RKwRzDbrmMTCstgHAs5DsCBIUI4WuWvDrHS2ANipVEIsXAlIYYW"
    "QGYZgMOACsL7obEPvrxVIcDSl0L4yUYOpCpgWZg/cqQYsmAB1InIFN66H/o++HGG6G8Bez"
    "a8H0xn3fvfxeMtSr+ZEq/ubCA8irRuUtardoqX8CG1P4ezTzXxt/Z1Mh5IOAllhiN7jNrN"
    "vtbFmIDLiIrJWgV6HJPAHJgSNLsUOmrZUzkWtPtoPozQah7OQhctVrlns8A0y8IdcSAy8G"
    "e4kUwM+bgB1vLOCV8MfvEfc14MPAdvWGCN+nfAOtSR8RePT51PGDJv3+9O+92Pg7oEeA60"
    "1Ro4uppAWniIQlKWsG3WZSlW2gIwMCQ2YhZizD7oU0ipN+OMOA9cW6U59RpddHmFl/5Fl7"
    "+5LtfhI9JKyfIoooKyUdlLNipbZKOSlY2aAwUeB8jGZORFNp60bDQBZSo/jQ8hOh17ofqk"
    "qb4kgj8EzZdE8JIIvj0DZ54IStBzssCAjOIUUEzokv9VeMVfb8n/BPnyd4aDwRN/FYrzk3"
    "hg5RLA1j7pScvLTsKzNGav9SejET9aay5bdKx5U50jXJTJtPa9YdhByJGvGU6IjXKXDBk+"
    "hKMMITk3EqLSwZMGG1C6Jk7OhlVMS05oFRP6VmufhL7VKk7ohS+JOuL6XWPoMWdz6hFiQo"
    "ALToh4XArsOQ98KbSDFRJHO1w1x1b5vclklBD4vWFq8x9/ue8N+OsvIeeNEEucCUmcdctb"
    "ECVhDsJeDOXMrhPCHke5rFx5K5gfoYN4L3mKZwfS8chXfKXPF+1KVgPHZH317v9s2nxq+g"
    "SbG39lnUkVwd8EdpcFTWIgfGhdMB58BNb9QZ/KeX0mVBcWjDJli+I0O/ZSJD88TG25fvDd"
    "5wdoAuZfleaXNBIfOp6ZUisqbCSWT/we+HCYYlfOVQHpJWs2XX6oa8t6TtXG91xvq9uAqM"
    "3JFG5+lKqN8qF52+zctJthsSa0bKvR7K7HcJ0XrKB9M8xYyCWz3C+zFIuqBMJ+8wqi+yLf"
    "b/IeGcQ5Iuy36WRcoLmjkLT0Qhqr/VszET3Src6pqC4BRkJwBZhe3Xf/SsPdH016aSUlHt"
    "DLu9B5zQuI5/8AJ9n57w=="
)
