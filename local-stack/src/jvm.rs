use std::path::{Path, PathBuf};
use std::process::Command;

/// What a Java server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Jvm {
    pub(crate) java: PathBuf,
    /// Folder of the class path.
    pub(crate) jars: PathBuf,
    pub(crate) log4j: PathBuf,
    /// Most heap. About as much again is used outside of it.
    pub(crate) heap_mb: u16,
    /// For servers that live for minutes: compile quickly rather than well.
    pub(crate) short_lived: bool,
}

impl Jvm {
    /// A command that runs `class` in `folder`.
    pub(crate) fn command(&self, class: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.java);
        command
            .arg(format!("-Xmx{}m", self.heap_mb))
            .args([
                "-XX:+UseG1GC",
                "-XX:+ExitOnOutOfMemoryError",
                "-Djava.awt.headless=true",
            ])
            .arg(format!("-Dlog4j2.configurationFile={}", self.log4j.display()))
            .current_dir(folder)
            // Options of somebody's shell would change our heap and write to our log.
            .env_remove("JAVA_TOOL_OPTIONS")
            .env_remove("CLASSPATH");
        if self.short_lived {
            command.arg("-XX:TieredStopAtLevel=1");
        }
        command.arg("-cp").arg(self.jars.join("*")).arg(class);
        command
    }
}
