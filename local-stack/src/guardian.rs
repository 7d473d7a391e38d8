use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::StackError;

/// Reads a pipe until its only writer is gone, however that came to be; then ends the servers and removes their data.
///
/// Each file below `$1/pids` has a process id in its first line. A process is ended only if its command line names the
/// directory: a number may have passed on to somebody else. PostgreSQL gets SIGQUIT first (its immediate mode), since
/// a killed postmaster leaves a segment of System V shared memory behind; the JVM would answer SIGQUIT with a thread dump.
/// A file `$1/keep` keeps everything, as an argument `keep` does: who sees a test fail makes it.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
dir=$1
command_line() {
    if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' <"/proc/$1/cmdline"; else ps -o args= -p "$1" 2>/dev/null; fi
}
ours() {
    case $(command_line "$1") in *"$dir"*) true ;; *) false ;; esac
}
for file in "$dir"/pids/*; do
    [ -f "$file" ] || continue
    read -r pid <"$file" || continue
    ours "$pid" || continue
    case $file in
        */postgres*) kill -QUIT "$pid"; kill -CONT "$pid" ;;
        *) kill -KILL "$pid" ;;
    esac
    tries=0
    while ours "$pid" && [ "$tries" -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
    if ours "$pid"; then kill -KILL "$pid"; sleep 0.2; fi
done 2>/dev/null
[ "$2" = keep ] || [ -e "$dir/keep" ] || rm -rf "$dir"
"#;

/// A small process that outlives this one for as long as it takes to clean up after it. Nothing that ends this process
/// (a panic, `exit`, SIGKILL) can keep the kernel from closing our end of the pipe.
#[derive(Debug)]
pub struct Guardian {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Guards the servers whose pid files are below `dir/pids`, and removes `dir` after them unless it is to be kept.
    ///
    /// # Errors
    /// If there is no shell.
    pub fn watch(dir: &Path, keep_data: bool) -> Result<Self, StackError> {
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT, "local-stack-guardian"])
            .arg(dir)
            .arg(if keep_data { "keep" } else { "remove" })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal to our group (Ctrl-C, a test runner's timeout) must not end it before its work begins.
            .process_group(0)
            .spawn()
            .map_err(StackError::io(|| "start the guardian of the test servers"))?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Its end means that everything is removed; a failure to wait leaves nothing for us to do.
        drop(self.process.wait());
    }
}
