//! A migration that is added or taken away changes the program; `sqlx::migrate!` alone would not notice.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
