-- The schema of Uptime Kuma 1.23.0 on SQLite, recorded from a database that the server made.
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = 0;
PRAGMA encoding = 'UTF-8';
PRAGMA journal_mode = WAL;

CREATE TABLE `docker_host` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `user_id` INT NOT NULL,
    `docker_daemon` VARCHAR(255),
    `docker_type` VARCHAR(255),
    `name` VARCHAR(255)
);

CREATE TABLE `group` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` VARCHAR(255) NOT NULL,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now')),
    `public` BOOLEAN NOT NULL DEFAULT 0,
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `weight` BOOLEAN NOT NULL DEFAULT 1000,
    `status_page_id` INTEGER
);

CREATE TABLE `incident` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `title` VARCHAR(255) NOT NULL,
    `content` TEXT NOT NULL,
    `style` VARCHAR(30) NOT NULL DEFAULT 'warning',
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now')),
    `last_updated_date` DATETIME,
    `pin` BOOLEAN NOT NULL DEFAULT 1,
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `status_page_id` INTEGER
);

-- The patch that gives this column its foreign key replaces the very words "monitor_id INTEGER NOT NULL", unquoted.
CREATE TABLE `monitor_tls_info` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    monitor_id INTEGER NOT NULL,
    `info_json` TEXT
);

CREATE TABLE `notification` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` VARCHAR(255),
    `config` VARCHAR(255),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `user_id` INTEGER NOT NULL,
    `is_default` BOOLEAN NOT NULL DEFAULT 0
);

CREATE TABLE `notification_sent_history` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `type` VARCHAR(50) NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `days` INTEGER NOT NULL,
    UNIQUE (`type`, `monitor_id`, `days`)
);
CREATE INDEX `good_index` ON `notification_sent_history` (`type`, `monitor_id`, `days`);

CREATE TABLE `proxy` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `user_id` INT NOT NULL,
    `protocol` VARCHAR(10) NOT NULL,
    `host` VARCHAR(255) NOT NULL,
    `port` SMALLINT NOT NULL,
    `auth` BOOLEAN NOT NULL,
    `username` VARCHAR(255),
    `password` VARCHAR(255),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `default` BOOLEAN NOT NULL DEFAULT 0,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now'))
);
CREATE INDEX `proxy_user_id` ON `proxy` (`user_id`);

CREATE TABLE `setting` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT,
    `key` VARCHAR(200) NOT NULL,
    `value` TEXT,
    `type` VARCHAR(20),
    UNIQUE (`key`)
);

CREATE TABLE `status_page` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `slug` VARCHAR(255) NOT NULL,
    `title` VARCHAR(255) NOT NULL,
    `description` TEXT,
    `icon` VARCHAR(255) NOT NULL,
    `theme` VARCHAR(30) NOT NULL,
    `published` BOOLEAN NOT NULL DEFAULT 1,
    `search_engine_index` BOOLEAN NOT NULL DEFAULT 1,
    `show_tags` BOOLEAN NOT NULL DEFAULT 0,
    `password` VARCHAR,
    `created_date` DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    `modified_date` DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    `footer_text` TEXT,
    `custom_css` TEXT,
    `show_powered_by` BOOLEAN NOT NULL DEFAULT 1,
    `google_analytics_tag_id` VARCHAR,
    `show_certificate_expiry` BOOLEAN NOT NULL DEFAULT 0,
    UNIQUE (`slug`)
);
CREATE UNIQUE INDEX `slug` ON `status_page` (`slug`);

CREATE TABLE `status_page_cname` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `status_page_id` INTEGER NOT NULL,
    `domain` VARCHAR NOT NULL,
    UNIQUE (`domain`),
    FOREIGN KEY (`status_page_id`) REFERENCES `status_page` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE `tag` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` VARCHAR(255) NOT NULL,
    `color` VARCHAR(255) NOT NULL,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now'))
);

CREATE TABLE `user` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `username` VARCHAR(255) NOT NULL,
    `password` VARCHAR(255),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `timezone` VARCHAR(150),
    `twofa_secret` VARCHAR(64),
    `twofa_status` BOOLEAN NOT NULL DEFAULT 0,
    `twofa_last_token` VARCHAR(6),
    UNIQUE (`username`)
);

CREATE TABLE `api_key` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `key` VARCHAR(255) NOT NULL,
    `name` VARCHAR(255) NOT NULL,
    `user_id` INTEGER NOT NULL,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now')),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `expires` DATETIME DEFAULT NULL,
    FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE `maintenance` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `title` VARCHAR(150) NOT NULL,
    `description` TEXT NOT NULL,
    `user_id` INTEGER,
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `strategy` VARCHAR(50) NOT NULL DEFAULT 'single',
    `start_date` DATETIME,
    `end_date` DATETIME,
    `start_time` TIME,
    `end_time` TIME,
    `weekdays` VARCHAR2(250) DEFAULT '[]',
    `days_of_month` TEXT DEFAULT '[]',
    `interval_day` INTEGER,
    `cron` TEXT,
    `timezone` VARCHAR(255),
    `duration` INTEGER,
    FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE INDEX `active` ON `maintenance` (`active`);
CREATE INDEX `maintenance_user_id` ON `maintenance` (`user_id`);
CREATE INDEX `manual_active` ON `maintenance` (`strategy`, `active`);

CREATE TABLE `maintenance_status_page` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `status_page_id` INTEGER NOT NULL,
    `maintenance_id` INTEGER NOT NULL,
    FOREIGN KEY (`maintenance_id`) REFERENCES `maintenance` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (`status_page_id`) REFERENCES `status_page` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `maintenance_id_index` ON `maintenance_status_page` (`maintenance_id`);
CREATE INDEX `status_page_id_index` ON `maintenance_status_page` (`status_page_id`);

CREATE TABLE `monitor` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` VARCHAR(150),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `user_id` INTEGER,
    `interval` INTEGER NOT NULL DEFAULT 20,
    `url` TEXT,
    `type` VARCHAR(20),
    `weight` INTEGER DEFAULT 2000,
    `hostname` VARCHAR(255),
    `port` INTEGER,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now')),
    `keyword` VARCHAR(255),
    `maxretries` INTEGER NOT NULL DEFAULT 0,
    `ignore_tls` BOOLEAN NOT NULL DEFAULT 0,
    `upside_down` BOOLEAN NOT NULL DEFAULT 0,
    `maxredirects` INTEGER NOT NULL DEFAULT 10,
    `accepted_statuscodes_json` TEXT NOT NULL DEFAULT '["200-299"]',
    `dns_resolve_type` VARCHAR(5),
    `dns_resolve_server` VARCHAR(255),
    `dns_last_result` VARCHAR(255),
    `retry_interval` INTEGER NOT NULL DEFAULT 0,
    `push_token` VARCHAR(20) DEFAULT NULL,
    `method` TEXT NOT NULL DEFAULT 'GET',
    `body` TEXT DEFAULT null,
    `headers` TEXT DEFAULT null,
    `basic_auth_user` TEXT DEFAULT null,
    `basic_auth_pass` TEXT DEFAULT null,
    `docker_host` INTEGER,
    `docker_container` VARCHAR(255),
    `proxy_id` INTEGER,
    `expiry_notification` BOOLEAN DEFAULT 1,
    `mqtt_topic` TEXT,
    `mqtt_success_message` VARCHAR(255),
    `mqtt_username` VARCHAR(255),
    `mqtt_password` VARCHAR(255),
    `database_connection_string` VARCHAR(2000),
    `database_query` TEXT,
    `auth_method` VARCHAR(250),
    `auth_domain` TEXT,
    `auth_workstation` TEXT,
    `grpc_url` VARCHAR(255) DEFAULT null,
    `grpc_protobuf` TEXT DEFAULT null,
    `grpc_body` TEXT DEFAULT null,
    `grpc_metadata` TEXT DEFAULT null,
    `grpc_method` VARCHAR(255) DEFAULT null,
    `grpc_service_name` VARCHAR(255) DEFAULT null,
    `grpc_enable_tls` BOOLEAN NOT NULL DEFAULT 0,
    `radius_username` VARCHAR(255),
    `radius_password` VARCHAR(255),
    `radius_calling_station_id` VARCHAR(50),
    `radius_called_station_id` VARCHAR(50),
    `radius_secret` VARCHAR(255),
    `resend_interval` INTEGER NOT NULL DEFAULT 0,
    `packet_size` INTEGER NOT NULL DEFAULT 56,
    `game` VARCHAR(255),
    `http_body_encoding` VARCHAR(25),
    `description` TEXT DEFAULT null,
    `tls_ca` TEXT DEFAULT null,
    `tls_cert` TEXT DEFAULT null,
    `tls_key` TEXT DEFAULT null,
    `parent` INTEGER,
    `invert_keyword` BOOLEAN NOT NULL DEFAULT 0,
    `json_path` TEXT,
    `expected_value` VARCHAR(255),
    `kafka_producer_topic` VARCHAR(255),
    `kafka_producer_brokers` TEXT,
    `kafka_producer_ssl` INTEGER,
    `kafka_producer_allow_auto_topic_creation` VARCHAR(255),
    `kafka_producer_sasl_options` TEXT,
    `kafka_producer_message` TEXT,
    `oauth_client_id` TEXT DEFAULT null,
    `oauth_client_secret` TEXT DEFAULT null,
    `oauth_token_url` TEXT DEFAULT null,
    `oauth_scopes` TEXT DEFAULT null,
    `oauth_auth_method` TEXT DEFAULT null,
    `timeout` DOUBLE NOT NULL DEFAULT 0,
    `gamedig_given_port_only` BOOLEAN NOT NULL DEFAULT 1,
    FOREIGN KEY (`docker_host`) REFERENCES `docker_host` (`id`),
    FOREIGN KEY (`parent`) REFERENCES `monitor` (`id`) ON DELETE SET NULL ON UPDATE CASCADE,
    FOREIGN KEY (`proxy_id`) REFERENCES `proxy` (`id`),
    FOREIGN KEY (`user_id`) REFERENCES `user` ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE INDEX `proxy_id` ON `monitor` (`proxy_id`);
CREATE INDEX `user_id` ON `monitor` (`user_id`);

CREATE TABLE `heartbeat` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `important` BOOLEAN NOT NULL DEFAULT 0,
    `monitor_id` INTEGER NOT NULL,
    `status` SMALLINT NOT NULL,
    `msg` TEXT,
    `time` DATETIME NOT NULL,
    `ping` INTEGER,
    `duration` INTEGER NOT NULL DEFAULT 0,
    `down_count` INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `important` ON `heartbeat` (`important`);
CREATE INDEX `monitor_id` ON `heartbeat` (`monitor_id`);
CREATE INDEX `monitor_important_time_index` ON `heartbeat` (`monitor_id`, `important`, `time`);
CREATE INDEX `monitor_time_index` ON `heartbeat` (`monitor_id`, `time`);

CREATE TABLE `monitor_group` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `group_id` INTEGER NOT NULL,
    `weight` BOOLEAN NOT NULL DEFAULT 1000,
    `send_url` BOOLEAN NOT NULL DEFAULT 0,
    FOREIGN KEY (`group_id`) REFERENCES `group` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `fk` ON `monitor_group` (`monitor_id`, `group_id`);

CREATE TABLE `monitor_maintenance` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `maintenance_id` INTEGER NOT NULL,
    FOREIGN KEY (`maintenance_id`) REFERENCES `maintenance` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `maintenance_id_index2` ON `monitor_maintenance` (`maintenance_id`);
CREATE INDEX `monitor_id_index` ON `monitor_maintenance` (`monitor_id`);

CREATE TABLE `monitor_notification` (
    `id` INTEGER PRIMARY KEY NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `notification_id` INTEGER NOT NULL,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (`notification_id`) REFERENCES `notification` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `monitor_notification_index` ON `monitor_notification` (`monitor_id`, `notification_id`);

CREATE TABLE `monitor_tag` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `tag_id` INTEGER NOT NULL,
    `value` TEXT,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (`tag_id`) REFERENCES `tag` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `monitor_tag_monitor_id_index` ON `monitor_tag` (`monitor_id`);
CREATE INDEX `monitor_tag_tag_id_index` ON `monitor_tag` (`tag_id`);

INSERT INTO `setting` (`key`, `value`) VALUES
    ('database_version', '10'),
    ('databasePatchedFiles', '{"patch-setting-value-type.sql":true,"patch-improve-performance.sql":true,"patch-2fa.sql":true,"patch-add-retry-interval-monitor.sql":true,"patch-incident-table.sql":true,"patch-group-table.sql":true,"patch-monitor-push_token.sql":true,"patch-http-monitor-method-body-and-headers.sql":true,"patch-2fa-invalidate-used-token.sql":true,"patch-notification_sent_history.sql":true,"patch-monitor-basic-auth.sql":true,"patch-add-docker-columns.sql":true,"patch-status-page.sql":true,"patch-proxy.sql":true,"patch-monitor-expiry-notification.sql":true,"patch-status-page-footer-css.sql":true,"patch-added-mqtt-monitor.sql":true,"patch-add-clickable-status-page-link.sql":true,"patch-add-sqlserver-monitor.sql":true,"patch-add-other-auth.sql":true,"patch-grpc-monitor.sql":true,"patch-add-radius-monitor.sql":true,"patch-monitor-add-resend-interval.sql":true,"patch-ping-packet-size.sql":true,"patch-maintenance-table2.sql":true,"patch-add-gamedig-monitor.sql":true,"patch-add-google-analytics-status-page-tag.sql":true,"patch-http-body-encoding.sql":true,"patch-add-description-monitor.sql":true,"patch-api-key-table.sql":true,"patch-monitor-tls.sql":true,"patch-maintenance-cron.sql":true,"patch-add-parent-monitor.sql":true,"patch-add-invert-keyword.sql":true,"patch-added-json-query.sql":true,"patch-added-kafka-producer.sql":true,"patch-add-certificate-expiry-status-page.sql":true,"patch-monitor-oauth-cc.sql":true,"patch-add-timeout-monitor.sql":true,"patch-add-gamedig-given-port.sql":true}');
