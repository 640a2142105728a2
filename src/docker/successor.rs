//! What has taken the place of a container that was removed: compose, Watchtower and people create a container again, under the
//! same name and on the same data folder, with another id.

use super::{Container, Docker, real};
use crate::error::Result;

/// What is there now of a container that was known.
#[derive(Debug)]
pub enum Successor {
    /// The container itself.
    Same(Box<Container>),
    /// Another one in its place, on the same data folder.
    New(Box<Container>),
    /// It is gone, and the one that has its name now has its data in this folder of the engine's host, or in none.
    Elsewhere(Option<String>),
    /// It is gone, and nothing is in its place.
    None,
}

impl Docker {
    /// What is there now of `known`. One that was renamed, as some tools do before they create its successor, counts as
    /// replaced when another one on its data folder has its name.
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
                // Compose names the new one like the old one only after that has gone; and a person may choose another name.
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
