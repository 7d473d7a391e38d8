use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::StackError;
use crate::account::{Account, reachable};
use crate::checkout::{Checkout, lock, make_dir};
use crate::daemon::{last_lines, write_whole};

/// Programs of the servers, fetched and unpacked.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Folder of the jars of Apache Kafka.
    pub kafka_jars: PathBuf,
    /// Folder with `bin/initdb` and `bin/postgres`.
    pub postgres: PathBuf,
    /// The Java to run Kafka with.
    pub java: PathBuf,
    /// Log4j configuration of Kafka.
    pub log4j: PathBuf,
}

impl Artifacts {
    /// Fetches what is not in the cache yet. Installs Java, Maven and xz first where that is needed and allowed.
    ///
    /// # Errors
    /// [`StackError::Unavailable`] names everything that is missing and how to get it.
    pub fn fetch(checkout: &Checkout, account: Option<&Account>) -> Result<Self, StackError> {
        let platform = platform()?;
        let cache = reachable(account, &checkout.cache())?;
        make_dir(&cache)?;
        let pom = checkout.pom();
        let wanted =
            fs::read_to_string(&pom).map_err(StackError::io(|| format!("read {}", pom.display())))?;
        let native = cache.join(format!("native-{platform}"));
        let artifacts = Self {
            kafka_jars: native.join("kafka"),
            postgres: native.join("postgres"),
            java: java(),
            log4j: checkout.log4j(),
        };

        let is_current = || fs::read_to_string(native.join("pom.xml")).is_ok_and(|had| had == wanted);
        if is_current() && on_path(&artifacts.java) {
            return Ok(artifacts);
        }
        let _held = lock(&cache.join("lock"), "fetching Kafka and PostgreSQL")?;
        require(checkout, &["stack"])?;
        if !is_current() {
            eprintln!("  fetching Apache Kafka and PostgreSQL from Maven Central (about 60 MB, once)");
            fetch_into(&native, &pom, platform)?;
            write_whole(&native.join("pom.xml"), wanted.as_bytes())?;
        }
        Ok(Self {
            java: java(),
            ..artifacts
        })
    }
}

/// Makes sure that groups of the system's packages are here; see `deploy/native/prerequisites.sh`.
///
/// # Errors
/// [`StackError::Unavailable`] with the script's message.
pub(crate) fn require(checkout: &Checkout, groups: &[&str]) -> Result<(), StackError> {
    let script = checkout.prerequisites();
    let doing = || format!("run {}", script.display());
    let quiet = Command::new(&script)
        .arg("--check")
        .args(groups)
        .output()
        .map_err(StackError::io(doing))?;
    if quiet.status.success() {
        return Ok(());
    }
    // What apt prints while it installs is progress, so it is shown.
    let status = Command::new(&script)
        .args(groups)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if status.map_err(StackError::io(doing))?.success() {
        return Ok(());
    }
    Err(StackError::Unavailable(
        String::from_utf8_lossy(&quiet.stderr).trim_end().to_owned(),
    ))
}

fn fetch_into(native: &Path, pom: &Path, platform: &str) -> Result<(), StackError> {
    // A draft beside it: servers of another checkout may run from the folder that is being replaced.
    let draft = native.with_extension("draft");
    remove_dir(&draft)?;
    make_dir(&draft)?;
    run(
        "fetch Kafka and PostgreSQL",
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(pom)
            .arg("generate-resources")
            .arg(format!("-Dout={}", draft.display()))
            .arg(format!("-Dpostgres.platform={platform}")),
    )?;
    let packed = draft.join("postgres");
    let entries = fs::read_dir(&packed).map_err(StackError::io(|| format!("read {}", packed.display())))?;
    let archive = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "txz"))
        .ok_or_else(|| StackError::Unavailable(format!("the PostgreSQL of {platform} holds no .txz")))?;
    run(
        "unpack PostgreSQL",
        Command::new("tar")
            .arg("-xJf")
            .arg(&archive)
            .arg("-C")
            .arg(&packed),
    )?;
    fs::remove_file(&archive).map_err(StackError::io(|| format!("remove {}", archive.display())))?;
    remove_dir(native)?;
    fs::rename(&draft, native).map_err(StackError::io(|| format!("rename {}", draft.display())))
}

/// Runs a program to its end; its output is part of the error.
pub(crate) fn run(doing: &str, command: &mut Command) -> Result<String, StackError> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(StackError::io(|| format!("{doing} ({name})")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(StackError::Command {
        doing: doing.to_owned(),
        command: name,
        status: output.status.to_string(),
        output: last_lines(&(text(&output.stdout) + &text(&output.stderr))),
    })
}

pub(crate) fn remove_dir(path: &Path) -> Result<(), StackError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StackError::Io {
            doing: format!("remove {}", path.display()),
            source,
        }),
        _ => Ok(()),
    }
}

/// The Java that somebody chose, or else the one on PATH.
pub(crate) fn java() -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    home.filter(|java| java.is_file())
        .unwrap_or_else(|| PathBuf::from("java"))
}

/// Whether a program can be started under this name.
pub(crate) fn on_path(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.is_absolute() && program.is_file()
        || std::env::split_paths(&path).any(|d| d.join(program).is_file())
}

/// The platform as the PostgreSQL binaries' artifacts name it.
fn platform() -> Result<&'static str, StackError> {
    match (OS, ARCH) {
        ("linux", "x86_64") => Ok("linux-amd64"),
        ("linux", "aarch64") => Ok("linux-arm64v8"),
        ("macos", "x86_64") => Ok("darwin-amd64"),
        ("macos", "aarch64") => Ok("darwin-arm64v8"),
        _ => Err(StackError::Unavailable(format!(
            "there is no PostgreSQL to fetch for {OS} on {ARCH}; start PostgreSQL and Kafka yourself and set \
             QUADRILLE_POSTGRES_URL and QUADRILLE_KAFKA_BROKERS"
        ))),
    }
}
