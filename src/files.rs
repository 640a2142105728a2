//! Files that survive a power cut: written beside, flushed, renamed, the folder flushed. The only renames are here.
