//! The Docker engine, from options and environment.

use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use super::environment::value;
use crate::config::InstanceConfig;
use crate::docker::{Docker, DockerEnv};
use crate::error::Result;

/// As the docker CLI reads them; empty values count as unset.
pub fn surroundings(global: &Global) -> DockerEnv {
    let variable = |name: &str| value(name)?.into_string().ok();
    let home = variable("HOME").map(PathBuf::from);
    let config = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
    DockerEnv {
        host: global.docker_host.clone(),
        context: global.docker_context.clone(),
        docker_host: variable("DOCKER_HOST"),
        docker_context: variable("DOCKER_CONTEXT"),
        container_host: variable("CONTAINER_HOST"),
        tls_verify: variable("DOCKER_TLS_VERIFY").is_some(),
        tls: variable("DOCKER_TLS").is_some(),
        cert_path: variable("DOCKER_CERT_PATH").map(PathBuf::from),
        config: config.unwrap_or_default(),
        runtime: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
        home,
    }
}

/// The same, where the config file may set an engine for `target`.
pub fn of(target: &InstanceConfig, global: &Global) -> DockerEnv {
    surroundings(global).or(target.docker_host.as_deref(), target.context.as_deref())
}

/// The selected engine.
pub fn connect(surroundings: &DockerEnv) -> Result<Arc<Docker>> {
    surroundings.endpoint().and_then(|endpoint| Docker::connect(&endpoint)).map(Arc::new)
}
