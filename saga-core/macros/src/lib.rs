//! Derives of saga-core.
