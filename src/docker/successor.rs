//! The successor of a removed container: compose, Watchtower and users recreate a container under the same name and on the same
//! data folder, with another id.

use super::{Container, Docker, real};
use crate::error::Result;

/// What became of a known container.
#[derive(Debug)]
pub enum Successor {
    /// The container itself.
    Same(Box<Container>),
    /// A successor, on the same data folder.
    New(Box<Container>),
    /// It is gone, and the container with its name has its data in this folder of the engine's host, or in none.
    Elsewhere(Option<String>),
    /// It is gone, and has no successor.
    None,
}

impl Docker {
    /// What became of `known`. One that was renamed, as some tools do before they create its successor, counts as replaced when
    /// another one on its data folder has its name.
    pub fn successor(&self, known: &Container) -> Result<Successor> {
        let now = self.block(self.inspect(&known.id))?;
        if let Some(now) = now.as_ref().filter(|now| now.name == known.name) {
            return Ok(Successor::Same(Box::new(now.clone())));
        }
        let named = self.block(self.inspect(&known.name))?.filter(|named| named.id != known.id);
        match (named, now) {
            (Some(named), _) if named.server && shares_data(&named, known) => Ok(Successor::New(Box::new(named))),
            (_, Some(now)) => Ok(Successor::Same(Box::new(now))),
            (named, None) => {
                // Compose gives the new one its final name only after the old one has gone; and a user may choose another name.
                let mut others = self.containers()?;
                others.retain(|other| other.id != known.id && shares_data(other, known));
                let is_service = |other: &Container| other.compose.is_some() && other.compose == known.compose;
                if others.len() > 1 && others.iter().filter(|other| is_service(other)).count() == 1 {
                    others.retain(is_service);
                }
                Ok(match (others.len(), named) {
                    (1, _) => Successor::New(Box::new(others.remove(0))),
                    (_, Some(named)) => {
                        Successor::Elsewhere(named.data().ok().map(|data| data.path.display().to_string()))
                    }
                    (_, None) => Successor::None,
                })
            }
        }
    }
}

/// Whether both have the same data folder.
fn shares_data(one: &Container, other: &Container) -> bool {
    match (one.data(), other.data()) {
        (Ok(one), Ok(other)) => real(&one.path) == real(&other.path),
        _ => false,
    }
}
