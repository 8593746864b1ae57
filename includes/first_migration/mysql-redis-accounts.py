from tortoise import BaseDBAsyncClient

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        CREATE TABLE `job_schedules` (
    `name` VARCHAR(200) NOT NULL,
    `expression` VARCHAR(200) NOT NULL,
    `next_at` DATETIME(6) NOT NULL,
    PRIMARY KEY (`name`)
) CHARACTER SET utf8mb4;
        CREATE TABLE `queued_jobs` (
    `id` BIGINT NOT NULL AUTO_INCREMENT,
    `name` VARCHAR(200) NOT NULL,
    `arguments` LONGTEXT NOT NULL,
    `headers` JSON NOT NULL,
    `state` VARCHAR(10) NOT NULL,
    `due_at` DATETIME(6) NOT NULL,
    `created_at` DATETIME(6) NOT NULL,
    `attempts` INT NOT NULL,
    `worker` VARCHAR(32) NULL,
    `expires_at` DATETIME(6) NULL,
    `only` VARCHAR(200) NULL,
    `is_scheduled` BOOL NOT NULL,
    `error` LONGTEXT NULL,
    PRIMARY KEY (`id`),
    KEY `idx_queued_jobs_state_252968` (`state`, `due_at`),
    UNIQUE KEY `only` (`only`)
) CHARACTER SET utf8mb4;"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        DROP TABLE `queued_jobs`;
        DROP TABLE `job_schedules`;"""


MODELS_STATE = (
    "eJztXFtz2jgU/isMT+lMtkMNJNl9g5S0tAR2A93tNJPxCFsBLbZEbDmQ6ea/ryTfr8EUgn"
    "H8BudiSd+RdG6Gn3WdqFAz3w8QXkzIAuL6H7WfdQx0yD7Emae1OlgufRYnUDDVhLTGxGTK"
    "5QQdTE1qAIUy1j3QTMhIKjQVAy0pInwcbGkaJxKFCSI880kWRg8WZM+aQTqHBmPc3jEywi"
    "pcQ9P9ulzI9whqamjKSOVjC7pMn5aC1kWzPqZXQpYPOJUVolk69uWXT3ROsKeAMOXUGcTQ"
    "ABTyEahh8RXwCTrrdRdlT9YXsWcZ0FHhPbA0GljxVPZpdVkejibyuDeR5XoOjBSCOb5sqq"
    "YAYMan8NvvktRsnkuN5tlFu3V+3r5oXDBZMd846/zZnoyPlv0ogVn/U3844RMizIi2gTnh"
    "WegACmwtYQwffWF9eQ7MedwKl3NgJNsgrBWxBVtk1BYu8sU1hg7WsgbxjM7Z17NWBs5/d2"
    "4uP3duTs5a78JgDx2OJFgcdh/mpWUsiQnzYBxQ2Q3ALsFH2D/lrw6x1NgAYqmRCjFnhSGG"
    "OkBaHoA9hRLC+6GxCb5MKhVgwYsgvF4iA5oyoHGYPzKkKNJhCtQhzQjeqqP63v1whOhngD"
    "3pX/fGk871n/zxumk+aAKvzqTHOZKgPkWoJ2cRu3gPqf3Tn3yu8a+1H6NhT8BJTDozxIi+"
    "3ORHnc8JWJTImKxkoAYxcckuKWRmy4SGnNcrB5Reds3bGbSczpnHRfeLRN/MMY1b4YoYEM"
    "3wV/gkLNFn8wZYSfITTjD4zXnMcVng2d1hLtUf3wArL44Mbjy2dLZgSO17vzO+7HwUB4Tt"
    "dU+cSQrIp0BZrIChyiHsOYdIJELxZOMsXdKjFIDBTKDlrIuhSGQfw9s7vjLHNGNomjYusR"
    "DeZWUG8KYtVEXvJb4gquj94NG7Ch+Rkit49zVKGFxKGwWXUkZwKcWDS8WAHI8tgsuwZhVc"
    "Fjq41IBJZeaztzF0VLcydaFNXaWLb8LMVbpYpYuHt8CbSBeFaRJyRddk6YkiX3aVJZb4Xj"
    "jNyBK58cXnmA16a7YV0rOYoGLp0sT2JklM285hPI8boNcuR4MBc8A1i95f6NOWPEU4Ld9p"
    "b9qteMEgO25ZFMga+RoWMXtwRh6DJHQ3eD2EpRZLYJorYiRcWOlmSVAtY9rfbm+S9rfb6W"
    "k/54VRRyzKVyh6TLicuoRoEOAUDxHUi4A9ZYr7Qts9IUG0vVOz61ygOxoNQmlAtx+5/Iff"
    "rrs9tv0F5EwI0ZBPCOOs6vaByAmzq7Y3lGO3jgd7EOW84cqhYH6EBmKjJEU8LyAd1HzFLX"
    "28aJeyZjgkq5N3v3Jps6WpI6w9OSfrSGoNziXwcvFQIzOEt60eBpV3YHVn0kXx10di6tSy"
    "Uqy4kZ56BzZF+CXGyJXrKF99vYEaoE5DNbnwEXpp8sgitbTyR+j4BLvF28MUaEyXBaTXru"
    "N8IdOxwjIGS8AUK+cE2adZVZ1/yVQ2HckDVneSawvp6VJpSwo7bIymV3Pgemn4R3Djlx1D"
    "WmXMTvfRlMZwTbcINQJqhQotqygjZ5Sxc8cQcAJ/WdCCKrvrk1yAz8x0AA9CTGZ+YP/X/y"
    "27JtgmFRuHSbLtfVfV+wtZ7z+sPy6/VwDGzNIhHy8G8oTd/Mkgh5RKgXSWH+h9n4RcgIvn"
    "yXXne7iCPxgNP7niAfwvB6NutEAPgep0McOgfxmPhimFeV8l6oiRQmv/1TRk7uh1g6JAz8"
    "HIhj6KcsSt8gdEofdu/k2vFE+hFDs92qraqFOV8cua2Pultj/NGWX6WlWQWbggs/Rl6srM"
    "UTMDSqG+TIoKUuPeoMq+3oOL27Ox3+hX+tA6b100z1pe0OtRsmLdeHtnRYxF0itt6W7H19"
    "jK7xSsnB92O01pA7fTlFLdDmcV9vecBUO+TNcS4a3AHGfIld/JCSpncTbU73cL8Fs0/EOq"
    "h+747//o7LDzDw2DJHiG9PTbUyiDY3iNzPuQVdLT7PZZBxpImdcTyqYO5zSrZgp8mcK8C/"
    "1WCqO/GBqmlzwfoZG3IxZQKWGRYi8va/JDlQNhR7yE6O7l71XYiBTihFg8vb4ZUKnqmznr"
    "mwdtAz7/D75Qvwo="
)
