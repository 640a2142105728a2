//! The commands that start a server on a new instance: for `docker run`, and for Docker Compose. Pure.

use crate::backup::Manifest;
use crate::schema::RecognizedRelease;
use crate::text::quoted;

/// The repository of the official images.
const REPOSITORY: &str = "louislam/uptime-kuma";

/// The server to start.
#[derive(Debug)]
pub struct Launch {
    /// Name of the container.
    pub name: String,
    /// The image.
    pub image: String,
    /// A path of the host, or the name of a volume.
    pub data: String,
    /// Variables and their values; one without is taken from the user's environment.
    pub env: Vec<(String, Option<String>)>,
    /// Whether its database runs on the host itself.
    pub host_network: bool,
    /// The socket of its database, a path of the host.
    pub socket: Option<String>,
}

/// The image for the release of `manifest`: the newest of a range.
pub fn image(manifest: &Manifest) -> String {
    let RecognizedRelease { release, unknown, .. } = manifest.recognise();
    if unknown.is_empty() {
        format!("{REPOSITORY}:{release}")
    } else {
        // Newer than any known release.
        format!("{REPOSITORY}:{}", release.major)
    }
}

impl Launch {
    /// The command for `docker`.
    pub fn command(&self) -> String {
        let mut words = vec!["docker run -d".to_owned(), format!("--name {}", self.name)];
        words.push("--restart unless-stopped".into());
        words.push(if self.host_network { "--network host" } else { "-p 3001:3001" }.into());
        words.extend(self.volumes().iter().map(|volume| format!("-v {}", quoted(volume))));
        for (name, value) in &self.env {
            words.push(match value {
                Some(value) => format!("-e {}", quoted(&format!("{name}={value}"))),
                None => format!("-e {name}"),
            });
        }
        words.push(self.image.clone());
        words.join(" ")
    }

    fn volumes(&self) -> Vec<String> {
        let socket = self.socket.iter().map(|socket| format!("{socket}:{socket}"));
        std::iter::once(format!("{}:/app/data", self.data)).chain(socket).collect()
    }

    /// The same as a `compose.yaml`.
    pub fn compose(&self) -> String {
        let text = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"));
        let mut lines = vec![
            "services:".to_owned(),
            format!("  {}:", self.name),
            format!("    image: {}", self.image),
            format!("    container_name: {}", self.name),
            "    restart: unless-stopped".into(),
        ];
        if self.host_network {
            lines.push("    network_mode: host".into())
        } else {
            lines.extend(["    ports:".into(), "      - \"3001:3001\"".into()])
        }
        lines.push("    volumes:".into());
        lines.extend(self.volumes().iter().map(|volume| format!("      - {}", text(volume))));
        if !self.env.is_empty() {
            lines.push("    environment:".into());
        }
        for (name, value) in &self.env {
            let value = value.as_ref().map_or_else(|| format!("${{{name}}}"), |value| text(value));
            lines.push(format!("      {name}: {value}"));
        }
        if !self.data.contains('/') {
            lines.extend(["volumes:".into(), format!("  {}:", self.data)]);
        }
        lines.join("\n")
    }
}

/// `text` as a name for a container, else the default name.
pub fn container_name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() > 1;
    // The name of a folder is not one of a server.
    if plain && text != "data" { text.to_owned() } else { "uptime-kuma".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_part() {
        let launch = Launch {
            name: "kuma".into(),
            image: "louislam/uptime-kuma:2.5.3".into(),
            data: "/srv/my kuma".into(),
            env: vec![("A".into(), Some("it's".into())), ("B".into(), None)],
            host_network: false,
            socket: None,
        };
        let expected = "docker run -d --name kuma --restart unless-stopped -p 3001:3001 -v '/srv/my kuma:/app/data' \
                        -e 'A=it'\\''s' -e B louislam/uptime-kuma:2.5.3";
        assert_eq!(launch.command(), expected);
        assert!(
            launch
                .compose()
                .contains("      - \"/srv/my kuma:/app/data\"\n    environment:\n      A: \"it's\"\n      B: ${B}")
        );
        assert_eq!(
            [container_name("kuma-1"), container_name("data"), container_name("a b")],
            ["kuma-1", "uptime-kuma", "uptime-kuma"]
        );
    }
}
