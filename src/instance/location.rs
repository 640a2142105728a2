//! Where the data of an instance is: on this machine, or on the host of its container.

use std::path::PathBuf;
use std::sync::Arc;

use super::Instance;
use crate::docker::{Container, Docker};
use crate::error::{Error, RemoteError, Result};

/// What a target stands for, on this machine or on another one.
pub enum Location<T = Instance> {
    /// On this machine.
    Local(T),
    /// On the host of a container, whose data this process cannot use.
    Remote(RemoteData),
}

/// The data folder of a container that only its host can use.
#[derive(Clone)]
#[non_exhaustive]
pub struct RemoteData {
    /// The engine of the container.
    pub docker: Arc<Docker>,
    /// The container.
    pub container: Arc<Container>,
    /// Its data folder, on its host.
    pub folder: PathBuf,
}

impl<T> Location<T> {
    /// What is on this machine.
    ///
    /// # Errors
    /// [`RemoteError::DataNotLocal`]
    pub fn local(self) -> Result<T> {
        match self {
            Location::Local(found) => Ok(found),
            Location::Remote(data) => Err(data.into()),
        }
    }

    /// The data on another machine.
    pub fn remote(&self) -> Option<&RemoteData> {
        match self {
            Location::Local(_) => None,
            Location::Remote(data) => Some(data),
        }
    }
}

impl<T> From<RemoteData> for Location<T> {
    fn from(data: RemoteData) -> Location<T> {
        Location::Remote(data)
    }
}

impl From<RemoteData> for Error {
    fn from(data: RemoteData) -> Error {
        Error::Remote(RemoteError::DataNotLocal {
            container: data.container.name.clone(),
            folder: data.folder.display().to_string(),
            engine: data.docker.address().to_owned(),
        })
    }
}

/// The first data of `all` on another machine, where nothing of it is on this one.
pub fn only_remote<'l>(all: impl IntoIterator<Item = &'l Result<Location>>) -> Option<RemoteData> {
    let mut first = None;
    for location in all.into_iter().flatten() {
        match location {
            Location::Local(_) => return None,
            Location::Remote(data) => first = first.or(Some(data)),
        }
    }
    first.cloned()
}
