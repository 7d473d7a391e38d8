//! Pure core of a choreographed saga.
