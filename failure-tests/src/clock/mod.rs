use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// libfaketime does the same and more, and ends programs with our allocator before they begin: it has the C library free
/// what another allocator gave.
const SOURCE: &str = include_str!("jumping.c");

/// Clocks of programs. What jumps is the realtime clock, as a program reads it through its C library; the monotonic one goes
/// on, as any kernel's does.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    dir: PathBuf,
}

impl Clocks {
    /// Whether there is a way to make clocks jump on this system.
    pub const POSSIBLE: bool = cfg!(target_os = "linux");

    /// Compiles what stands between a program and its clock, in a folder that also has a file for each clock.
    ///
    /// # Errors
    /// If there is no C compiler, which cargo needs as well, or this is not Linux.
    pub fn new(dir: &Path) -> Result<Self> {
        ensure!(Self::POSSIBLE, "clocks jump on Linux alone");
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let (source, library) = (dir.join("jumping.c"), dir.join("jumping.so"));
        std::fs::write(&source, SOURCE).with_context(|| format!("write {}", source.display()))?;
        let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-std=c11", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("call the C compiler")?;
        ensure!(
            compiled.status.success(),
            "the clock does not compile: {}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        Ok(Self {
            library,
            dir: dir.to_owned(),
        })
    }

    /// What a program finds in its environment. Its clock is right.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn settings(&self, program: &str) -> Result<BTreeMap<String, String>> {
        self.jump(program, 0)?;
        let all = [
            ("LD_PRELOAD", self.library.clone()),
            ("JUMPING_CLOCK", self.file(program)),
        ];
        Ok(all
            .map(|(key, value)| (key.to_owned(), value.display().to_string()))
            .into())
    }

    /// Its clock is wrong by so many seconds from now on, also for processes of it that start later.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn jump(&self, program: &str, by_s: i64) -> Result<()> {
        let path = self.file(program);
        // In place: the program has it mapped.
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        options
            .open(&path)
            .and_then(|mut file| file.write_all(&by_s.to_ne_bytes()))
            .with_context(|| format!("write {}", path.display()))
    }

    fn file(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Seconds, as another program sees them.
    fn now(settings: &BTreeMap<String, String>) -> i64 {
        let asked = Command::new("date").arg("+%s").envs(settings).output();
        let said = String::from_utf8(asked.expect("date runs").stdout).expect("digits");
        said.trim().parse().expect("a number")
    }

    #[test]
    fn a_clock_jumps_and_jumps_back() {
        let dir = std::env::temp_dir().join(format!("quadrille-clock-{}", std::process::id()));
        let clocks = Clocks::new(&dir).expect("a compiler");
        let settings = clocks.settings("date").expect("a file");
        for by_s in [0, 86_400, -86_400, 0] {
            clocks.jump("date", by_s).expect("a file");
            let is = now(&BTreeMap::new());
            let says = now(&settings);
            assert!((says - is - by_s).abs() < 60, "{says} at {is}, wrong by {by_s}");
        }
        std::fs::remove_dir_all(dir).expect("it is ours");
    }
}
