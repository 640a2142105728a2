//! The request to end a run early, which long work checks: copies and hashes of files, queries, waiting for a database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, OperationError, Result};

/// A signal that ends the run, once it was received; without one, nothing ever does. Its clones are the same request.
#[derive(Clone, Default)]
pub struct Cancel {
    /// The number of the signal, or 0.
    signal: Arc<AtomicUsize>,
    is_deferred: Arc<AtomicBool>,
    /// What must be removed before this process ends.
    holds: Arc<AtomicUsize>,
}

/// Something that must be removed before this process ends, such as a container.
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cancel {
    /// The request is in `signal`, which is 0 until there is one.
    pub fn by(signal: Arc<AtomicUsize>) -> Cancel {
        Cancel { signal, ..Cancel::default() }
    }

    /// Until the result is dropped, the process does not end by itself.
    pub fn hold(&self) -> Hold {
        self.holds.fetch_add(1, Ordering::SeqCst);
        Hold(self.holds.clone())
    }

    /// Whether there is a [`Hold`].
    pub fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    /// Whether the request waits: what is being done must be finished, such as a rollback.
    pub fn defer(&self, is_deferred: bool) {
        self.is_deferred.store(is_deferred, Ordering::SeqCst);
    }

    /// The signal that ends the run now.
    pub fn signal(&self) -> Option<i32> {
        let signal = i32::try_from(self.signal.load(Ordering::SeqCst)).ok()?;
        (signal != 0 && !self.is_deferred.load(Ordering::SeqCst)).then_some(signal)
    }

    /// Fails once the run has to end.
    ///
    /// # Errors
    /// [`OperationError::Interrupted`].
    pub fn check(&self) -> Result<()> {
        self.signal().map_or(Ok(()), |signal| Err(Error::Operation(OperationError::Interrupted { signal })))
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.signal()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deferred_request_waits() {
        let signal = Arc::new(AtomicUsize::new(0));
        let cancel = Cancel::by(signal.clone());
        let same = cancel.clone();
        assert!(same.check().is_ok());
        signal.store(15, Ordering::SeqCst);
        assert!(matches!(same.check(), Err(Error::Operation(OperationError::Interrupted { signal: 15 }))));
        cancel.defer(true);
        assert!(same.check().is_ok());
        cancel.defer(false);
        assert_eq!(same.signal(), Some(15));
        assert!(Cancel::default().check().is_ok());
        let staged = same.hold();
        assert!(cancel.is_held());
        drop(staged);
        assert!(!cancel.is_held());
    }
}
