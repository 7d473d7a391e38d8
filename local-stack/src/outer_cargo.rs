use std::process::Command;

/// Takes away what `cargo run` and `cargo test` tell the program that they start, before it starts cargo itself or
/// something that may.
///
/// Build scripts are run anew when such a variable differs: ring's asks for `CARGO_PKG_NAME` and a dozen more, and
/// everything that speaks TLS would be compiled again after each change between a cargo of the shell and one of ours.
pub fn forget_outer_cargo(command: &mut Command) -> &mut Command {
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(is_of_a_package) {
            command.env_remove(key);
        }
    }
    command
}

fn is_of_a_package(key: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_a_package_goes_and_what_is_of_the_user_stays() {
        for key in [
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_BIN_EXE_x",
            "OUT_DIR",
        ] {
            assert!(is_of_a_package(key), "{key}");
        }
        for key in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_INCREMENTAL",
            "CARGO_NET_OFFLINE",
        ] {
            assert!(!is_of_a_package(key), "{key}");
        }
    }

    #[test]
    fn a_command_is_started_without_it() {
        let mut env = Command::new("env");
        let output = forget_outer_cargo(&mut env).output().expect("env runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("CARGO_PKG_NAME="), "{text}");
        assert!(
            std::env::var_os("CARGO_PKG_NAME").is_some(),
            "this test would see nothing"
        );
    }
}
