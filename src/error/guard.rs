//! Panics that become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{OperationError, Result};

/// Does `act`, which is part of `what`; a panic in it becomes an error.
pub fn guarded<T>(what: &'static str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        Err(OperationError::Panic { what, why: words.lines().next().unwrap_or_default().to_owned() }.into())
    })
}
