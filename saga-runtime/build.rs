//! A migration that is added or taken away changes the library; `sqlx::migrate!` alone would not notice.

fn main() {
    println!("cargo:rerun-if-changed=migrations/outbox");
    println!("cargo:rerun-if-changed=migrations/engine");
    println!("cargo:rerun-if-changed=tests/it/migrations");
}
