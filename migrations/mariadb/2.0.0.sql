-- The schema of Uptime Kuma 2.0.0 on MariaDB, recorded from a database that the server made.
-- Character set and collation are the database's own, as they are for the server; it needs utf8mb4.

CREATE TABLE `docker_host` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `user_id` int(10) unsigned NOT NULL,
    `docker_daemon` varchar(255) DEFAULT NULL,
    `docker_type` varchar(255) DEFAULT NULL,
    `name` varchar(255) DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `group` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(255) NOT NULL,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    `public` tinyint(1) NOT NULL DEFAULT 0,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `weight` int(11) NOT NULL DEFAULT 1000,
    `status_page_id` int(10) unsigned DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `incident` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `title` varchar(255) NOT NULL,
    `content` text NOT NULL,
    `style` varchar(30) NOT NULL DEFAULT 'warning',
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    `last_updated_date` datetime DEFAULT NULL,
    `pin` tinyint(1) NOT NULL DEFAULT 1,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `status_page_id` int(10) unsigned DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `knex_migrations` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(255) DEFAULT NULL,
    `batch` int(11) DEFAULT NULL,
    `migration_time` timestamp NULL DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `knex_migrations_lock` (
    `index` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `is_locked` int(11) DEFAULT NULL,
    PRIMARY KEY (`index`)
) ENGINE = InnoDB;

CREATE TABLE `notification` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(255) DEFAULT NULL,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `user_id` int(10) unsigned DEFAULT NULL,
    `is_default` tinyint(1) NOT NULL DEFAULT 0,
    `config` longtext DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `notification_sent_history` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `type` varchar(50) NOT NULL,
    `monitor_id` int(10) unsigned NOT NULL,
    `days` int(11) NOT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `notification_sent_history_type_monitor_id_days_unique` (`type`, `monitor_id`, `days`),
    KEY `good_index` (`type`, `monitor_id`, `days`)
) ENGINE = InnoDB;

CREATE TABLE `proxy` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `user_id` int(10) unsigned NOT NULL,
    `protocol` varchar(10) NOT NULL,
    `host` varchar(255) NOT NULL,
    `port` int(11) DEFAULT NULL,
    `auth` tinyint(1) NOT NULL,
    `username` varchar(255) DEFAULT NULL,
    `password` varchar(255) DEFAULT NULL,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `default` tinyint(1) NOT NULL DEFAULT 0,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    PRIMARY KEY (`id`),
    KEY `proxy_user_id` (`user_id`)
) ENGINE = InnoDB;

CREATE TABLE `remote_browser` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(255) NOT NULL,
    `url` varchar(255) NOT NULL,
    `user_id` int(10) unsigned DEFAULT NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `setting` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `key` varchar(200) COLLATE utf8_general_ci NOT NULL,
    `value` text DEFAULT NULL,
    `type` varchar(20) DEFAULT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `setting_key_unique` (`key`)
) ENGINE = InnoDB;

CREATE TABLE `status_page` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `slug` varchar(255) COLLATE utf8_general_ci NOT NULL,
    `title` varchar(255) NOT NULL,
    `description` text DEFAULT NULL,
    `icon` varchar(255) NOT NULL,
    `theme` varchar(30) NOT NULL,
    `published` tinyint(1) NOT NULL DEFAULT 1,
    `search_engine_index` tinyint(1) NOT NULL DEFAULT 1,
    `show_tags` tinyint(1) NOT NULL DEFAULT 0,
    `password` varchar(255) DEFAULT NULL,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    `modified_date` datetime NOT NULL DEFAULT current_timestamp(),
    `footer_text` text DEFAULT NULL,
    `custom_css` text DEFAULT NULL,
    `show_powered_by` tinyint(1) NOT NULL DEFAULT 1,
    `google_analytics_tag_id` varchar(255) DEFAULT NULL,
    `show_certificate_expiry` tinyint(1) NOT NULL DEFAULT 0,
    `auto_refresh_interval` int(10) unsigned DEFAULT 300,
    PRIMARY KEY (`id`),
    UNIQUE KEY `status_page_slug_unique` (`slug`)
) ENGINE = InnoDB;

CREATE TABLE `status_page_cname` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `status_page_id` int(10) unsigned DEFAULT NULL,
    `domain` varchar(255) COLLATE utf8_general_ci NOT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `status_page_cname_domain_unique` (`domain`),
    KEY `status_page_cname_status_page_id_foreign` (`status_page_id`),
    CONSTRAINT `status_page_cname_status_page_id_foreign` FOREIGN KEY (`status_page_id`) REFERENCES `status_page` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `tag` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(255) NOT NULL,
    `color` varchar(255) NOT NULL,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    PRIMARY KEY (`id`)
) ENGINE = InnoDB;

CREATE TABLE `user` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `username` varchar(255) COLLATE utf8_general_ci NOT NULL,
    `password` varchar(255) DEFAULT NULL,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `timezone` varchar(150) DEFAULT NULL,
    `twofa_secret` varchar(64) DEFAULT NULL,
    `twofa_status` tinyint(1) NOT NULL DEFAULT 0,
    `twofa_last_token` varchar(6) DEFAULT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `user_username_unique` (`username`)
) ENGINE = InnoDB;

CREATE TABLE `api_key` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `key` varchar(255) NOT NULL,
    `name` varchar(255) NOT NULL,
    `user_id` int(10) unsigned NOT NULL,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `expires` datetime DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `api_key_user_id_foreign` (`user_id`),
    CONSTRAINT `api_key_user_id_foreign` FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `maintenance` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `title` varchar(150) NOT NULL,
    `description` text NOT NULL,
    `user_id` int(10) unsigned DEFAULT NULL,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `strategy` varchar(50) NOT NULL DEFAULT 'single',
    `start_date` datetime DEFAULT NULL,
    `end_date` datetime DEFAULT NULL,
    `start_time` time DEFAULT NULL,
    `end_time` time DEFAULT NULL,
    `weekdays` varchar(250) DEFAULT '[]',
    `days_of_month` text DEFAULT '[]',
    `interval_day` int(11) DEFAULT NULL,
    `cron` text DEFAULT NULL,
    `timezone` varchar(255) DEFAULT NULL,
    `duration` int(11) DEFAULT NULL,
    `last_start_date` datetime DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `maintenance_active_index` (`active`),
    KEY `manual_active` (`strategy`, `active`),
    KEY `maintenance_user_id` (`user_id`),
    CONSTRAINT `maintenance_user_id_foreign` FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE SET NULL ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `maintenance_status_page` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `status_page_id` int(10) unsigned NOT NULL,
    `maintenance_id` int(10) unsigned NOT NULL,
    PRIMARY KEY (`id`),
    KEY `maintenance_status_page_status_page_id_foreign` (`status_page_id`),
    KEY `maintenance_status_page_maintenance_id_foreign` (`maintenance_id`),
    CONSTRAINT `maintenance_status_page_maintenance_id_foreign` FOREIGN KEY (`maintenance_id`) REFERENCES `maintenance` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT `maintenance_status_page_status_page_id_foreign` FOREIGN KEY (`status_page_id`) REFERENCES `status_page` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `name` varchar(150) DEFAULT NULL,
    `active` tinyint(1) NOT NULL DEFAULT 1,
    `user_id` int(10) unsigned DEFAULT NULL,
    `interval` int(11) NOT NULL DEFAULT 20,
    `url` text DEFAULT NULL,
    `type` varchar(20) DEFAULT NULL,
    `weight` int(11) DEFAULT 2000,
    `hostname` varchar(255) DEFAULT NULL,
    `port` int(11) DEFAULT NULL,
    `created_date` datetime NOT NULL DEFAULT current_timestamp(),
    `keyword` varchar(255) DEFAULT NULL,
    `maxretries` int(11) NOT NULL DEFAULT 0,
    `ignore_tls` tinyint(1) NOT NULL DEFAULT 0,
    `upside_down` tinyint(1) NOT NULL DEFAULT 0,
    `maxredirects` int(11) NOT NULL DEFAULT 10,
    `accepted_statuscodes_json` text NOT NULL DEFAULT '["200-299"]',
    `dns_resolve_type` varchar(5) DEFAULT NULL,
    `dns_resolve_server` varchar(255) DEFAULT NULL,
    `dns_last_result` varchar(255) DEFAULT NULL,
    `retry_interval` int(11) NOT NULL DEFAULT 0,
    `push_token` varchar(32) DEFAULT NULL,
    `method` text NOT NULL DEFAULT 'GET',
    `body` text DEFAULT NULL,
    `headers` text DEFAULT NULL,
    `basic_auth_user` text DEFAULT NULL,
    `basic_auth_pass` text DEFAULT NULL,
    `docker_host` int(10) unsigned DEFAULT NULL,
    `docker_container` varchar(255) DEFAULT NULL,
    `proxy_id` int(10) unsigned DEFAULT NULL,
    `expiry_notification` tinyint(1) DEFAULT 1,
    `mqtt_topic` text DEFAULT NULL,
    `mqtt_success_message` varchar(255) DEFAULT NULL,
    `mqtt_username` varchar(255) DEFAULT NULL,
    `mqtt_password` varchar(255) DEFAULT NULL,
    `database_connection_string` varchar(2000) DEFAULT NULL,
    `database_query` text DEFAULT NULL,
    `auth_method` varchar(250) DEFAULT NULL,
    `auth_domain` text DEFAULT NULL,
    `auth_workstation` text DEFAULT NULL,
    `grpc_url` varchar(255) DEFAULT NULL,
    `grpc_protobuf` text DEFAULT NULL,
    `grpc_body` text DEFAULT NULL,
    `grpc_metadata` text DEFAULT NULL,
    `grpc_method` text DEFAULT NULL,
    `grpc_service_name` text DEFAULT NULL,
    `grpc_enable_tls` tinyint(1) NOT NULL DEFAULT 0,
    `radius_username` varchar(255) DEFAULT NULL,
    `radius_password` varchar(255) DEFAULT NULL,
    `radius_calling_station_id` varchar(50) DEFAULT NULL,
    `radius_called_station_id` varchar(50) DEFAULT NULL,
    `radius_secret` varchar(255) DEFAULT NULL,
    `resend_interval` int(11) NOT NULL DEFAULT 0,
    `packet_size` int(11) NOT NULL DEFAULT 56,
    `game` varchar(255) DEFAULT NULL,
    `http_body_encoding` varchar(25) DEFAULT NULL,
    `description` text DEFAULT NULL,
    `tls_ca` text DEFAULT NULL,
    `tls_cert` text DEFAULT NULL,
    `tls_key` text DEFAULT NULL,
    `parent` int(10) unsigned DEFAULT NULL,
    `invert_keyword` tinyint(1) NOT NULL DEFAULT 0,
    `json_path` text DEFAULT NULL,
    `expected_value` varchar(255) DEFAULT NULL,
    `kafka_producer_topic` varchar(255) DEFAULT NULL,
    `kafka_producer_brokers` text DEFAULT NULL,
    `kafka_producer_ssl` tinyint(1) NOT NULL DEFAULT 0,
    `kafka_producer_allow_auto_topic_creation` tinyint(1) NOT NULL DEFAULT 0,
    `kafka_producer_sasl_options` text DEFAULT NULL,
    `kafka_producer_message` text DEFAULT NULL,
    `oauth_client_id` text DEFAULT NULL,
    `oauth_client_secret` text DEFAULT NULL,
    `oauth_token_url` text DEFAULT NULL,
    `oauth_scopes` text DEFAULT NULL,
    `oauth_auth_method` text DEFAULT NULL,
    `timeout` double NOT NULL DEFAULT 0,
    `gamedig_given_port_only` tinyint(1) NOT NULL DEFAULT 1,
    `mqtt_check_type` varchar(255) NOT NULL DEFAULT 'keyword',
    `remote_browser` int(10) unsigned DEFAULT NULL,
    `snmp_oid` varchar(255) DEFAULT NULL,
    `snmp_version` enum('1','2c','3') DEFAULT '2c',
    `json_path_operator` varchar(255) DEFAULT NULL,
    `cache_bust` tinyint(1) NOT NULL DEFAULT 0,
    `conditions` text NOT NULL DEFAULT '[]',
    `rabbitmq_nodes` text DEFAULT NULL,
    `rabbitmq_username` varchar(255) DEFAULT NULL,
    `rabbitmq_password` varchar(255) DEFAULT NULL,
    `smtp_security` varchar(255) DEFAULT NULL,
    `ping_count` int(11) NOT NULL DEFAULT 1,
    `ping_numeric` tinyint(1) NOT NULL DEFAULT 1,
    `ping_per_request_timeout` int(11) NOT NULL DEFAULT 2,
    `ip_family` varchar(4) DEFAULT NULL,
    `manual_status` smallint(6) DEFAULT NULL,
    `oauth_audience` varchar(255) DEFAULT NULL,
    `mqtt_websocket_path` varchar(255) DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `monitor_user_id_foreign` (`user_id`),
    KEY `monitor_docker_host_foreign` (`docker_host`),
    KEY `monitor_proxy_id_foreign` (`proxy_id`),
    KEY `monitor_parent_foreign` (`parent`),
    KEY `monitor_remote_browser_index` (`remote_browser`),
    CONSTRAINT `monitor_docker_host_foreign` FOREIGN KEY (`docker_host`) REFERENCES `docker_host` (`id`),
    CONSTRAINT `monitor_parent_foreign` FOREIGN KEY (`parent`) REFERENCES `monitor` (`id`) ON DELETE SET NULL ON UPDATE CASCADE,
    CONSTRAINT `monitor_proxy_id_foreign` FOREIGN KEY (`proxy_id`) REFERENCES `proxy` (`id`),
    CONSTRAINT `monitor_remote_browser_foreign` FOREIGN KEY (`remote_browser`) REFERENCES `remote_browser` (`id`),
    CONSTRAINT `monitor_user_id_foreign` FOREIGN KEY (`user_id`) REFERENCES `user` (`id`) ON DELETE SET NULL ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `heartbeat` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `important` tinyint(1) NOT NULL DEFAULT 0,
    `monitor_id` int(10) unsigned NOT NULL,
    `status` smallint(6) NOT NULL,
    `msg` text DEFAULT NULL,
    `time` datetime NOT NULL,
    `ping` int(11) DEFAULT NULL,
    `duration` int(11) NOT NULL DEFAULT 0,
    `down_count` int(11) NOT NULL DEFAULT 0,
    `end_time` datetime DEFAULT NULL,
    `retries` int(11) NOT NULL DEFAULT 0,
    PRIMARY KEY (`id`),
    KEY `heartbeat_important_index` (`important`),
    KEY `monitor_time_index` (`monitor_id`, `time`),
    KEY `heartbeat_monitor_id_index` (`monitor_id`),
    KEY `monitor_important_time_index` (`monitor_id`, `important`, `time`),
    CONSTRAINT `heartbeat_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor_group` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `group_id` int(10) unsigned NOT NULL,
    `weight` int(11) NOT NULL DEFAULT 1000,
    `send_url` tinyint(1) NOT NULL DEFAULT 0,
    `custom_url` text DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `monitor_group_group_id_foreign` (`group_id`),
    KEY `fk` (`monitor_id`, `group_id`),
    CONSTRAINT `monitor_group_group_id_foreign` FOREIGN KEY (`group_id`) REFERENCES `group` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT `monitor_group_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor_maintenance` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `maintenance_id` int(10) unsigned NOT NULL,
    PRIMARY KEY (`id`),
    KEY `maintenance_id_index2` (`maintenance_id`),
    KEY `monitor_id_index` (`monitor_id`),
    CONSTRAINT `monitor_maintenance_maintenance_id_foreign` FOREIGN KEY (`maintenance_id`) REFERENCES `maintenance` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT `monitor_maintenance_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor_notification` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `notification_id` int(10) unsigned NOT NULL,
    PRIMARY KEY (`id`),
    KEY `monitor_notification_notification_id_foreign` (`notification_id`),
    KEY `monitor_notification_index` (`monitor_id`, `notification_id`),
    CONSTRAINT `monitor_notification_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT `monitor_notification_notification_id_foreign` FOREIGN KEY (`notification_id`) REFERENCES `notification` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor_tag` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `tag_id` int(10) unsigned NOT NULL,
    `value` text DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `monitor_tag_monitor_id_foreign` (`monitor_id`),
    KEY `monitor_tag_tag_id_foreign` (`tag_id`),
    CONSTRAINT `monitor_tag_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT `monitor_tag_tag_id_foreign` FOREIGN KEY (`tag_id`) REFERENCES `tag` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `monitor_tls_info` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `info_json` longtext DEFAULT NULL,
    PRIMARY KEY (`id`),
    KEY `monitor_tls_info_monitor_id_foreign` (`monitor_id`),
    CONSTRAINT `monitor_tls_info_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `stat_daily` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `timestamp` int(11) NOT NULL,
    `ping` int(11) DEFAULT 0,
    `up` smallint(6) NOT NULL,
    `down` smallint(6) NOT NULL,
    `ping_min` float(8,2) NOT NULL DEFAULT 0.00,
    `ping_max` float(8,2) NOT NULL DEFAULT 0.00,
    `extras` text DEFAULT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `stat_daily_monitor_id_timestamp_unique` (`monitor_id`, `timestamp`),
    CONSTRAINT `stat_daily_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `stat_hourly` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `timestamp` int(11) NOT NULL,
    `ping` int(11) DEFAULT 0,
    `ping_min` float(8,2) NOT NULL DEFAULT 0.00,
    `ping_max` float(8,2) NOT NULL DEFAULT 0.00,
    `up` smallint(6) NOT NULL,
    `down` smallint(6) NOT NULL,
    `extras` text DEFAULT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `stat_hourly_monitor_id_timestamp_unique` (`monitor_id`, `timestamp`),
    CONSTRAINT `stat_hourly_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

CREATE TABLE `stat_minutely` (
    `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
    `monitor_id` int(10) unsigned NOT NULL,
    `timestamp` int(11) NOT NULL,
    `ping` int(11) DEFAULT 0,
    `up` smallint(6) NOT NULL,
    `down` smallint(6) NOT NULL,
    `ping_min` float(8,2) NOT NULL DEFAULT 0.00,
    `ping_max` float(8,2) NOT NULL DEFAULT 0.00,
    `extras` text DEFAULT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `stat_minutely_monitor_id_timestamp_unique` (`monitor_id`, `timestamp`),
    CONSTRAINT `stat_minutely_monitor_id_foreign` FOREIGN KEY (`monitor_id`) REFERENCES `monitor` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE = InnoDB;

INSERT INTO `knex_migrations` (`id`, `name`, `batch`, `migration_time`) VALUES
    (1, '2023-08-16-0000-create-uptime.js', 1, CURRENT_TIMESTAMP),
    (2, '2023-08-18-0301-heartbeat.js', 1, CURRENT_TIMESTAMP),
    (3, '2023-09-29-0000-heartbeat-retires.js', 1, CURRENT_TIMESTAMP),
    (4, '2023-10-08-0000-mqtt-query.js', 1, CURRENT_TIMESTAMP),
    (5, '2023-10-11-1915-push-token-to-32.js', 1, CURRENT_TIMESTAMP),
    (6, '2023-10-16-0000-create-remote-browsers.js', 1, CURRENT_TIMESTAMP),
    (7, '2023-12-20-0000-alter-status-page.js', 1, CURRENT_TIMESTAMP),
    (8, '2023-12-21-0000-stat-ping-min-max.js', 1, CURRENT_TIMESTAMP),
    (9, '2023-12-22-0000-hourly-uptime.js', 1, CURRENT_TIMESTAMP),
    (10, '2024-01-22-0000-stats-extras.js', 1, CURRENT_TIMESTAMP),
    (11, '2024-04-26-0000-snmp-monitor.js', 1, CURRENT_TIMESTAMP),
    (12, '2024-08-24-000-add-cache-bust.js', 1, CURRENT_TIMESTAMP),
    (13, '2024-08-24-0000-conditions.js', 1, CURRENT_TIMESTAMP),
    (14, '2024-10-1315-rabbitmq-monitor.js', 1, CURRENT_TIMESTAMP),
    (15, '2024-10-31-0000-fix-snmp-monitor.js', 1, CURRENT_TIMESTAMP),
    (16, '2024-11-27-1927-fix-info-json-data-type.js', 1, CURRENT_TIMESTAMP),
    (17, '2025-01-01-0000-add-smtp.js', 1, CURRENT_TIMESTAMP),
    (18, '2025-03-04-0000-ping-advanced-options.js', 1, CURRENT_TIMESTAMP),
    (19, '2025-03-25-0127-fix-5721.js', 1, CURRENT_TIMESTAMP),
    (20, '2025-05-09-0000-add-custom-url.js', 1, CURRENT_TIMESTAMP),
    (21, '2025-06-03-0000-add-ip-family.js', 1, CURRENT_TIMESTAMP),
    (22, '2025-06-11-0000-add-manual-monitor.js', 1, CURRENT_TIMESTAMP),
    (23, '2025-06-13-0000-maintenance-add-last-start.js', 1, CURRENT_TIMESTAMP),
    (24, '2025-06-15-0001-manual-monitor-fix.js', 1, CURRENT_TIMESTAMP),
    (25, '2025-06-24-0000-add-audience-to-oauth.js', 1, CURRENT_TIMESTAMP),
    (26, '2025-07-17-0000-mqtt-websocket-path.js', 1, CURRENT_TIMESTAMP),
    (27, '2025-10-14-0000-add-ip-family-fix.js', 1, CURRENT_TIMESTAMP),
    (28, '2025-10-15-0000-stat-table-fix.js', 1, CURRENT_TIMESTAMP);
INSERT INTO `knex_migrations_lock` (`index`, `is_locked`) VALUES (1, 0);

INSERT INTO `setting` (`key`, `value`) VALUES
    ('migrateAggregateTableState', '"migrated"');
