use std::process::Output;

use serde_json::Value;

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the program where no local stack is found, with nothing but these settings.
pub(crate) async fn sagactl(settings: &[(&str, String)], arguments: &[&str]) -> Said {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sagactl"));
    command
        .current_dir("/")
        .env_clear()
        .envs(settings.iter().map(|(key, value)| (*key, value.as_str())))
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    Said {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap().trim_end().to_owned(),
        err: String::from_utf8(stderr).unwrap().trim_end().to_owned(),
    }
}
