-- The schema of Uptime Kuma 2.5.3 on SQLite, recorded from a database that the server made.
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

CREATE TABLE `domain_expiry` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `last_check` datetime,
    `domain` varchar(255) NOT NULL,
    `expiry` datetime,
    `last_expiry_notification_sent` INTEGER DEFAULT null
);
CREATE UNIQUE INDEX `domain_expiry_domain_unique` ON `domain_expiry` (`domain`);

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

CREATE TABLE `knex_migrations` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` varchar(255),
    `batch` INTEGER,
    `migration_time` datetime
);

CREATE TABLE `knex_migrations_lock` (
    `index` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `is_locked` INTEGER
);

CREATE TABLE `notification` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` VARCHAR(255),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `user_id` INTEGER NOT NULL,
    `is_default` BOOLEAN NOT NULL DEFAULT 0,
    `config` TEXT
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
    `port` INTEGER,
    `auth` BOOLEAN NOT NULL,
    `username` VARCHAR(255),
    `password` VARCHAR(255),
    `active` BOOLEAN NOT NULL DEFAULT 1,
    `default` BOOLEAN NOT NULL DEFAULT 0,
    `created_date` DATETIME NOT NULL DEFAULT (DATETIME('now'))
);
CREATE INDEX `proxy_user_id` ON `proxy` (`user_id`);

CREATE TABLE `remote_browser` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `name` varchar(255) NOT NULL,
    `url` varchar(255) NOT NULL,
    `user_id` INTEGER
);

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
    `analytics_id` VARCHAR,
    `show_certificate_expiry` BOOLEAN NOT NULL DEFAULT 0,
    `auto_refresh_interval` INTEGER DEFAULT '300',
    `analytics_script_url` varchar(255),
    `show_only_last_heartbeat` boolean NOT NULL DEFAULT '0',
    `rss_title` varchar(255),
    `analytics_type` varchar(255) DEFAULT null,
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
    `last_start_date` datetime,
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
    `dns_last_result` TEXT,
    `retry_interval` INTEGER NOT NULL DEFAULT 0,
    `push_token` varchar(32),
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
    `kafka_producer_sasl_options` TEXT,
    `kafka_producer_message` TEXT,
    `oauth_client_id` TEXT DEFAULT null,
    `oauth_client_secret` TEXT DEFAULT null,
    `oauth_token_url` TEXT DEFAULT null,
    `oauth_scopes` TEXT DEFAULT null,
    `oauth_auth_method` TEXT DEFAULT null,
    `timeout` DOUBLE NOT NULL DEFAULT 0,
    `gamedig_given_port_only` BOOLEAN NOT NULL DEFAULT 1,
    `kafka_producer_ssl` BOOLEAN NOT NULL DEFAULT 0,
    `kafka_producer_allow_auto_topic_creation` BOOLEAN NOT NULL DEFAULT 0,
    `mqtt_check_type` varchar(255) NOT NULL DEFAULT 'keyword',
    `remote_browser` INTEGER DEFAULT null,
    `snmp_oid` varchar(255) DEFAULT null,
    `snmp_version` TEXT DEFAULT '2c' CHECK (`snmp_version` in ('1', '2c', '3')),
    `json_path_operator` varchar(255) DEFAULT null,
    `cache_bust` boolean NOT NULL DEFAULT '0',
    `conditions` TEXT NOT NULL DEFAULT '[]',
    `rabbitmq_nodes` TEXT,
    `rabbitmq_username` varchar(255),
    `rabbitmq_password` varchar(255),
    `smtp_security` varchar(255) DEFAULT null,
    `ws_ignore_sec_websocket_accept_header` boolean NOT NULL DEFAULT '0',
    `ws_subprotocol` varchar(255) NOT NULL DEFAULT '',
    `ping_count` INTEGER NOT NULL DEFAULT '1',
    `ping_numeric` boolean NOT NULL DEFAULT '1',
    `ping_per_request_timeout` INTEGER NOT NULL DEFAULT '2',
    `ip_family` varchar(4) DEFAULT null,
    `manual_status` INTEGER,
    `oauth_audience` varchar(255) DEFAULT null,
    `mqtt_websocket_path` varchar(255),
    `domain_expiry_notification` boolean DEFAULT '0',
    `save_response` boolean NOT NULL DEFAULT '0',
    `save_error_response` boolean NOT NULL DEFAULT '1',
    `response_max_length` INTEGER NOT NULL DEFAULT '1024',
    `system_service_name` varchar(255),
    `subtype` varchar(10),
    `location` varchar(255),
    `protocol` varchar(20),
    `snmp_v3_username` varchar(255),
    `expected_tls_alert` varchar(50) DEFAULT null,
    `retry_only_on_status_code_failure` boolean NOT NULL DEFAULT '0',
    `screenshot_delay` INTEGER NOT NULL DEFAULT '0',
    `ntp_stratum_threshold` INTEGER DEFAULT '5',
    `ntp_time_offset_threshold` INTEGER DEFAULT '1000',
    `ntp_root_dispersion_threshold` INTEGER DEFAULT '500',
    `bearer_token` TEXT DEFAULT null,
    `gamedig_token` TEXT DEFAULT null,
    FOREIGN KEY (`docker_host`) REFERENCES `docker_host` (`id`),
    FOREIGN KEY (`parent`) REFERENCES `monitor` (`id`) ON DELETE SET NULL ON UPDATE CASCADE,
    FOREIGN KEY (`proxy_id`) REFERENCES `proxy` (`id`),
    FOREIGN KEY (`remote_browser`) REFERENCES `remote_browser` (`id`),
    FOREIGN KEY (`user_id`) REFERENCES `user` ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE INDEX `monitor_remote_browser_index` ON `monitor` (`remote_browser`);
CREATE INDEX `proxy_id` ON `monitor` (`proxy_id`);
CREATE INDEX `user_id` ON `monitor` (`user_id`);

CREATE TABLE `heartbeat` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `important` BOOLEAN NOT NULL DEFAULT 0,
    `monitor_id` INTEGER NOT NULL,
    `status` SMALLINT NOT NULL,
    `msg` TEXT,
    `time` DATETIME NOT NULL,
    `ping` bigint,
    `duration` INTEGER NOT NULL DEFAULT 0,
    `down_count` INTEGER NOT NULL DEFAULT 0,
    `end_time` datetime DEFAULT null,
    `retries` INTEGER NOT NULL DEFAULT '0',
    `response` TEXT DEFAULT null,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `heartbeat_important_index` ON `heartbeat` (`important`) WHERE `important` = 1;
CREATE INDEX `important` ON `heartbeat` (`important`);
CREATE INDEX `monitor_id` ON `heartbeat` (`monitor_id`);
CREATE INDEX `monitor_important_time_index` ON `heartbeat` (`monitor_id`, `time`) WHERE `important` = 1;
CREATE INDEX `monitor_time_index` ON `heartbeat` (`monitor_id`, `time`);

CREATE TABLE `monitor_group` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `group_id` INTEGER NOT NULL,
    `weight` BOOLEAN NOT NULL DEFAULT 1000,
    `send_url` BOOLEAN NOT NULL DEFAULT 0,
    `custom_url` TEXT,
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

CREATE TABLE `monitor_tls_info` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `info_json` TEXT,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE `stat_daily` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `timestamp` INTEGER NOT NULL,
    `ping` float NOT NULL,
    `up` INTEGER NOT NULL,
    `down` INTEGER NOT NULL,
    `ping_min` float NOT NULL DEFAULT '0',
    `ping_max` float NOT NULL DEFAULT '0',
    `extras` TEXT DEFAULT null,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX `stat_daily_monitor_id_timestamp_unique` ON `stat_daily` (`monitor_id`, `timestamp`);

CREATE TABLE `stat_hourly` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `timestamp` INTEGER NOT NULL,
    `ping` float NOT NULL,
    `ping_min` float NOT NULL DEFAULT '0',
    `ping_max` float NOT NULL DEFAULT '0',
    `up` INTEGER NOT NULL,
    `down` INTEGER NOT NULL,
    `extras` TEXT DEFAULT null,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX `stat_hourly_monitor_id_timestamp_unique` ON `stat_hourly` (`monitor_id`, `timestamp`);

CREATE TABLE `stat_minutely` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    `monitor_id` INTEGER NOT NULL,
    `timestamp` INTEGER NOT NULL,
    `ping` float NOT NULL,
    `up` INTEGER NOT NULL,
    `down` INTEGER NOT NULL,
    `ping_min` float NOT NULL DEFAULT '0',
    `ping_max` float NOT NULL DEFAULT '0',
    `extras` TEXT DEFAULT null,
    FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX `stat_minutely_monitor_id_timestamp_unique` ON `stat_minutely` (`monitor_id`, `timestamp`);

INSERT INTO `knex_migrations` (`id`, `name`, `batch`, `migration_time`) VALUES
    (1, '2023-08-16-0000-create-uptime.js', 1, unixepoch() * 1000),
    (2, '2023-08-18-0301-heartbeat.js', 1, unixepoch() * 1000),
    (3, '2023-09-29-0000-heartbeat-retires.js', 1, unixepoch() * 1000),
    (4, '2023-10-08-0000-mqtt-query.js', 1, unixepoch() * 1000),
    (5, '2023-10-11-1915-push-token-to-32.js', 1, unixepoch() * 1000),
    (6, '2023-10-16-0000-create-remote-browsers.js', 1, unixepoch() * 1000),
    (7, '2023-12-20-0000-alter-status-page.js', 1, unixepoch() * 1000),
    (8, '2023-12-21-0000-stat-ping-min-max.js', 1, unixepoch() * 1000),
    (9, '2023-12-22-0000-hourly-uptime.js', 1, unixepoch() * 1000),
    (10, '2024-01-22-0000-stats-extras.js', 1, unixepoch() * 1000),
    (11, '2024-04-26-0000-snmp-monitor.js', 1, unixepoch() * 1000),
    (12, '2024-08-24-000-add-cache-bust.js', 1, unixepoch() * 1000),
    (13, '2024-08-24-0000-conditions.js', 1, unixepoch() * 1000),
    (14, '2024-10-1315-rabbitmq-monitor.js', 1, unixepoch() * 1000),
    (15, '2024-10-31-0000-fix-snmp-monitor.js', 1, unixepoch() * 1000),
    (16, '2024-11-27-1927-fix-info-json-data-type.js', 1, unixepoch() * 1000),
    (17, '2025-01-01-0000-add-smtp.js', 1, unixepoch() * 1000),
    (18, '2025-02-15-2312-add-wstest.js', 1, unixepoch() * 1000),
    (19, '2025-02-17-2142-generalize-analytics.js', 1, unixepoch() * 1000),
    (20, '2025-03-04-0000-ping-advanced-options.js', 1, unixepoch() * 1000),
    (21, '2025-03-25-0127-fix-5721.js', 1, unixepoch() * 1000),
    (22, '2025-05-09-0000-add-custom-url.js', 1, unixepoch() * 1000),
    (23, '2025-06-03-0000-add-ip-family.js', 1, unixepoch() * 1000),
    (24, '2025-06-11-0000-add-manual-monitor.js', 1, unixepoch() * 1000),
    (25, '2025-06-13-0000-maintenance-add-last-start.js', 1, unixepoch() * 1000),
    (26, '2025-06-15-0001-manual-monitor-fix.js', 1, unixepoch() * 1000),
    (27, '2025-06-24-0000-add-audience-to-oauth.js', 1, unixepoch() * 1000),
    (28, '2025-07-17-0000-mqtt-websocket-path.js', 1, unixepoch() * 1000),
    (29, '2025-09-02-0000-add-domain-expiry.js', 1, unixepoch() * 1000),
    (30, '2025-10-14-0000-add-ip-family-fix.js', 1, unixepoch() * 1000),
    (31, '2025-10-15-0000-stat-table-fix.js', 1, unixepoch() * 1000),
    (32, '2025-10-15-0001-add-monitor-response-config.js', 1, unixepoch() * 1000),
    (33, '2025-10-15-0002-add-response-to-heartbeat.js', 1, unixepoch() * 1000),
    (34, '2025-10-24-0000-show-only-last-heartbeat.js', 1, unixepoch() * 1000),
    (35, '2025-12-09-0000-add-system-service-monitor.js', 1, unixepoch() * 1000),
    (36, '2025-12-17-0000-add-globalping-monitor.js', 1, unixepoch() * 1000),
    (37, '2025-12-22-0121-optimize-important-indexes.js', 1, unixepoch() * 1000),
    (38, '2025-12-29-0000-remove-line-notify.js', 1, unixepoch() * 1000),
    (39, '2025-12-31-2143-add-snmp-v3-username.js', 1, unixepoch() * 1000),
    (40, '2026-01-02-0551-dns-last-result-to-text.js', 1, unixepoch() * 1000),
    (41, '2026-01-02-0713-gamedig-v4-to-v5.js', 1, unixepoch() * 1000),
    (42, '2026-01-05-0000-add-rss-title.js', 1, unixepoch() * 1000),
    (43, '2026-01-05-0000-add-tls-monitor.js', 1, unixepoch() * 1000),
    (44, '2026-01-06-0000-fix-domain-expiry-column-type.js', 1, unixepoch() * 1000),
    (45, '2026-01-10-0000-convert-float-precision.js', 1, unixepoch() * 1000),
    (46, '2026-01-15-0000-add-json-query-retry-only-status-code.js', 1, unixepoch() * 1000),
    (47, '2026-01-16-0000-add-screenshot-delay.js', 1, unixepoch() * 1000),
    (48, '2026-02-07-0000-disable-domain-expiry-unsupported-tlds.js', 1, unixepoch() * 1000),
    (49, '2026-03-27-0000-add-ntp-monitor.js', 1, unixepoch() * 1000),
    (50, '2026-05-20-0000-add-bearer-token.js', 1, unixepoch() * 1000),
    (51, '2026-05-25-0000-add-gamedig-token.js', 1, unixepoch() * 1000),
    (52, '2026-06-19-1411-add-rybbit-analytics-type.js', 1, unixepoch() * 1000),
    (53, '2026-06-19-1412-analytics-type-to-string.js', 1, unixepoch() * 1000),
    (54, '2026-07-22-0000-fix-stat-daily-overflow.js', 1, unixepoch() * 1000),
    (55, '2026-08-18-0000-sqlite-only-drop-analytics-type-check.js', 1, unixepoch() * 1000);
INSERT INTO `knex_migrations_lock` (`index`, `is_locked`) VALUES (1, 0);

INSERT INTO `setting` (`key`, `value`) VALUES
    ('database_version', '10'),
    ('databasePatchedFiles', '{"patch-setting-value-type.sql":true,"patch-improve-performance.sql":true,"patch-2fa.sql":true,"patch-add-retry-interval-monitor.sql":true,"patch-incident-table.sql":true,"patch-group-table.sql":true,"patch-monitor-push_token.sql":true,"patch-http-monitor-method-body-and-headers.sql":true,"patch-2fa-invalidate-used-token.sql":true,"patch-notification_sent_history.sql":true,"patch-monitor-basic-auth.sql":true,"patch-add-docker-columns.sql":true,"patch-status-page.sql":true,"patch-proxy.sql":true,"patch-monitor-expiry-notification.sql":true,"patch-status-page-footer-css.sql":true,"patch-added-mqtt-monitor.sql":true,"patch-add-clickable-status-page-link.sql":true,"patch-add-sqlserver-monitor.sql":true,"patch-add-other-auth.sql":true,"patch-grpc-monitor.sql":true,"patch-add-radius-monitor.sql":true,"patch-monitor-add-resend-interval.sql":true,"patch-ping-packet-size.sql":true,"patch-maintenance-table2.sql":true,"patch-add-gamedig-monitor.sql":true,"patch-add-google-analytics-status-page-tag.sql":true,"patch-http-body-encoding.sql":true,"patch-add-description-monitor.sql":true,"patch-api-key-table.sql":true,"patch-monitor-tls.sql":true,"patch-maintenance-cron.sql":true,"patch-add-parent-monitor.sql":true,"patch-add-invert-keyword.sql":true,"patch-added-json-query.sql":true,"patch-added-kafka-producer.sql":true,"patch-add-certificate-expiry-status-page.sql":true,"patch-monitor-oauth-cc.sql":true,"patch-add-timeout-monitor.sql":true,"patch-add-gamedig-given-port.sql":true,"patch-notification-config.sql":true,"patch-fix-kafka-producer-booleans.sql":true,"patch-timeout.sql":true,"patch-monitor-tls-info-add-fk.sql":true}'),
    ('migrateAggregateTableState', '"migrated"');
