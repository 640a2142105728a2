//! The Docker engine, from options and environment.

use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use crate::config::Target;
use crate::docker::{Docker, DockerEnv};
use crate::error::Result;

/// As the docker CLI reads them; empty values count as unset.
pub fn surroundings(global: &Global) -> DockerEnv {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let home = said("HOME").map(PathBuf::from);
    let config = said("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
    DockerEnv {
        host: global.docker_host.clone(),
        context: global.docker_context.clone(),
        docker_host: said("DOCKER_HOST"),
        docker_context: said("DOCKER_CONTEXT"),
        container_host: said("CONTAINER_HOST"),
        tls_verify: said("DOCKER_TLS_VERIFY").is_some(),
        tls: said("DOCKER_TLS").is_some(),
        cert_path: said("DOCKER_CERT_PATH").map(PathBuf::from),
        config: config.unwrap_or_default(),
        runtime: said("XDG_RUNTIME_DIR").map(PathBuf::from),
        home,
    }
}

/// The same, where the config file may set an engine for `target`.
pub fn of(target: &Target, global: &Global) -> DockerEnv {
    surroundings(global).or(target.docker_host.as_deref(), target.context.as_deref())
}

/// The selected engine.
pub fn connect(surroundings: &DockerEnv) -> Result<Arc<Docker>> {
    surroundings.endpoint().and_then(|endpoint| Docker::connect(&endpoint)).map(Arc::new)
}
