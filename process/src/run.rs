use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Health};
use crate::config::Env;
use crate::failure::{Chain, Failure};
use crate::shutdown::{Impatience, Shutdown};
use crate::telemetry::{Telemetry, TelemetryConfig};
use crate::{memory, tls};

/// What a process is. Made by [`about!`](crate::about).
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name, e.g. `payment-sandbox`; `service.name` of its spans.
    pub name: &'static str,
    /// What the names of its configuration begin with, e.g. `SANDBOX`.
    pub prefix: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line about it.
    pub summary: &'static str,
}

/// An [`About`] from the manifest of the crate that calls it. Takes the prefix of the configuration.
#[macro_export]
macro_rules! about {
    ($prefix:literal) => {
        $crate::About {
            name: env!("CARGO_PKG_NAME"),
            prefix: $prefix,
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
        }
    };
}

/// What a running process hands to its work.
#[derive(Debug, Clone)]
pub struct Process {
    /// Which program it is.
    pub about: About,
    /// Which of several processes of that program.
    pub instance: String,
    /// Cancelled when the process should stop taking work and finish what it has.
    pub shutdown: CancellationToken,
    /// How long finishing may take; after that the process ends anyway.
    pub grace: Duration,
    /// How its parts do.
    pub health: Health,
    /// Its metrics.
    pub telemetry: Telemetry,
    /// Its admin port, if it has one.
    pub admin: Option<Admin>,
}

impl Process {
    /// Adds routes to the admin port, if there is one.
    pub fn merge_admin(&self, routes: Router) {
        if let Some(admin) = &self.admin {
            admin.merge(routes);
        }
    }
}

/// What every process is configured with.
struct Common {
    telemetry: TelemetryConfig,
    admin_listen: Option<SocketAddr>,
    grace: Duration,
}

impl Common {
    fn read(env: &mut Env, name: &str) -> Option<Common> {
        let admin_listen = env.optional("ADMIN_LISTEN", "address:port of /live, /ready and /metrics");
        let grace = env.duration_ms("SHUTDOWN_GRACE_MS", Duration::from_secs(20));
        let telemetry = TelemetryConfig::from_env(env, name);
        Some(Common {
            telemetry: telemetry?,
            admin_listen,
            grace,
        })
    }
}

/// How long the last spans and the last blocking tasks may take, once the work is done.
const FAREWELL: Duration = Duration::from_secs(2);

/// The life of a process: reads the configuration, sets up telemetry, opens the admin port, does the work
/// until it ends or a signal comes, and says how it went.
///
/// | exit code | meaning |
/// |---|---|
/// | 0 | the work ended well |
/// | 64 | the configuration is wrong; each problem is a line on standard error, and no port was opened |
/// | 69 | something that we need is not there ([`Failure::unavailable`]) |
/// | 70 | the work failed, panicked, or did not end within `SHUTDOWN_GRACE_MS` |
///
/// `read` is a constructor as in [`config`](crate::config); `--help` is made from it.
///
/// The work need not be `Send`: it runs on the main thread. What should use all cores is spawned by it.
pub fn run<C, R, W, F>(about: About, read: R, work: W) -> ExitCode
where
    R: Fn(&mut Env) -> Option<C>,
    W: FnOnce(C, Process) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    run_with(about, std::env::args().skip(1), read, work)
}

/// [`run`] for a program that has verbs: `arguments` are what is left of the command line once the verb is
/// known.
pub fn run_with<C, R, W, F>(
    about: About,
    arguments: impl Iterator<Item = String>,
    read: R,
    work: W,
) -> ExitCode
where
    R: Fn(&mut Env) -> Option<C>,
    W: FnOnce(C, Process) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let read_all = |env: &mut Env| {
        let config = read(env);
        let common = Common::read(env, about.name);
        Some((config?, common?))
    };
    if let Some(code) = answer_arguments(&about, arguments, read_all) {
        return code;
    }
    let mut env = Env::from_process(about.prefix);
    let (config, common) = match env.build(read_all) {
        Ok(read) => read,
        Err(invalid) => {
            eprintln!(
                "{}: the configuration is wrong (`{0} --help` lists every key)\n{invalid}",
                about.name
            );
            return ExitCode::from(Failure::USAGE);
        }
    };
    memory::use_small_pages();
    tls::install_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{}: starting the runtime: {error}", about.name);
            return ExitCode::from(Failure::INTERNAL);
        }
    };
    let code = runtime.block_on(live(about, env.unread(), common, |process| work(config, process)));
    runtime.shutdown_timeout(FAREWELL);
    ExitCode::from(code)
}

async fn live<W, F>(about: About, unread: Vec<String>, common: Common, work: W) -> u8
where
    W: FnOnce(Process) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let telemetry = match Telemetry::init(&common.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{}: {}", about.name, Chain(&error));
            return Failure::USAGE;
        }
    };
    log_panics();
    tracing::info!(
        version = about.version,
        instance = common.telemetry.instance,
        pid = std::process::id(),
        "{} starts",
        about.name
    );
    for key in unread {
        tracing::warn!(key, "nobody reads this variable; is it mistyped?");
    }

    let health = Health::new();
    let farewell = CancellationToken::new();
    let upkeep = tokio::spawn(upkeep(telemetry.clone()));
    let admin = match common.admin_listen {
        None => None,
        Some(listen) => {
            match Admin::start(listen, health.clone(), telemetry.clone(), farewell.clone()).await {
                Ok(admin) => {
                    tracing::info!(address = %admin.address(), "admin port is open");
                    Some(admin)
                }
                Err(error) => {
                    tracing::error!(%listen, %error, "admin port cannot be opened");
                    return Failure::UNAVAILABLE;
                }
            }
        }
    };
    let shutdown = Shutdown::new(common.grace);
    let process = Process {
        about,
        instance: common.telemetry.instance,
        shutdown: shutdown.token.clone(),
        grace: common.grace,
        health: health.clone(),
        telemetry: telemetry.clone(),
        admin,
    };
    let code = until_done(work(process), shutdown, health).await;
    farewell.cancel();
    upkeep.abort();
    tracing::info!(code, "{} ends", about.name);
    telemetry.shutdown(FAREWELL).await;
    code
}

/// Waits for the work, or until there is a reason not to.
async fn until_done(
    work: impl Future<Output = Result<(), Failure>>,
    shutdown: Shutdown,
    health: Health,
) -> u8 {
    let unready = {
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            token.cancelled().await;
            health.stopping();
        })
    };
    let code = tokio::select! {
        // Nothing of the work is looked at after a panic.
        ended = AssertUnwindSafe(work).catch_unwind() => match ended {
            Ok(Ok(())) => 0,
            Ok(Err(failure)) => {
                tracing::error!(cause = %failure, "failed");
                failure.code()
            }
            // The panic hook has told.
            Err(_) => Failure::INTERNAL,
        },
        impatience = shutdown.listen() => {
            match impatience {
                Ok(Impatience::SecondSignal) => tracing::error!("ends without finishing its work, as asked"),
                Ok(Impatience::GraceIsOver) => {
                    tracing::error!("ends without finishing its work, which took longer than SHUTDOWN_GRACE_MS");
                }
                Err(error) => tracing::error!(%error, "signal handlers cannot be installed"),
            }
            Failure::INTERNAL
        }
    };
    unready.abort();
    code
}

/// `--version` and `--help`; anything else is a mistake, since everything is configured by environment.
fn answer_arguments<C>(
    about: &About,
    mut arguments: impl Iterator<Item = String>,
    read: impl Fn(&mut Env) -> Option<C>,
) -> Option<ExitCode> {
    match arguments.next()?.as_str() {
        "--version" | "-V" => {
            println!("{} {}", about.name, about.version);
            Some(ExitCode::SUCCESS)
        }
        "--help" | "-h" => {
            let keys = Env::describe(about.prefix, read);
            println!(
                "{} {}\n{}\n\nConfigured by environment:\n",
                about.name, about.version, about.summary
            );
            print!("{}", Env::help(about.prefix, &keys));
            Some(ExitCode::SUCCESS)
        }
        other => {
            eprintln!(
                "{}: no argument `{other}`; there are --help and --version",
                about.name
            );
            Some(ExitCode::from(Failure::USAGE))
        }
    }
}

/// Histograms keep every sample until somebody drains them, which a process that nobody scrapes must do
/// itself.
async fn upkeep(telemetry: Telemetry) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        telemetry.upkeep();
    }
}

/// A panic is a line of the log like any other, with its place and in its span.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("not a text");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(message, location, "panic");
    }));
}
