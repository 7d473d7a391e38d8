//! A new migration is a new build: the macro that embeds them does not see files that are added.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
