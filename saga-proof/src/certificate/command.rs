use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Parser;
use local_stack::{Addresses, TestStack};

use super::certified::Certified;
use super::run::{Certificate, Options, run};

/// Every step of a saga against every fault: crash, delay, error, lost answer.
///
/// The whole takes minutes and writes its page; a part of it is only printed. It fails if a case does not hold, or if there is
/// a fault point that no case reaches.
#[derive(Debug, Parser)]
#[command(name = "certificate", after_help = "The last line is `N of N cases hold`.")]
struct Arguments {
    /// Each fault point once, with one of its faults: in seconds.
    #[arg(long)]
    sample: bool,
    /// Only cases whose name holds this, as in `payment/effect::after_call/charge/lost answer`.
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
    /// Only cases of the path of this name.
    #[arg(long)]
    path: Option<String>,
}

/// The whole of a program that writes a certificate: it reads its arguments, plays on a PostgreSQL and a Kafka of its own or on
/// those of the environment ([`TestStack::shared`]), and writes the page if it was the whole.
///
/// # Errors
/// If there was nothing to be played with, or the page cannot be written. Cases that do not hold are an exit code.
pub fn main<C: Certified>(page: &Path) -> Result<ExitCode> {
    let Arguments { sample, only, path } = Arguments::parse();
    let options = Options { sample, only, path };
    let certificate = played::<C>(&options)?;
    if options.is_whole() {
        write(&certificate, page)?;
    }
    let wrong = certificate.wrong();
    for one in &wrong {
        println!("{one}");
    }
    println!("{}", certificate.sum());
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// For a test that nobody waits for: all cases, in minutes. It writes the page, whether they hold or not.
///
/// # Errors
/// Whatever does not hold.
pub fn whole<C: Certified>(page: &Path) -> Result<()> {
    let certificate = played::<C>(&Options::default())?;
    write(&certificate, page)?;
    judged(&certificate)
}

/// For a test: each fault point once, with one of its faults, in about a minute.
///
/// # Errors
/// Whatever does not hold.
pub fn sample<C: Certified>() -> Result<()> {
    let options = Options {
        sample: true,
        ..Options::default()
    };
    judged(&played::<C>(&options)?)
}

pub(super) fn judged(certificate: &Certificate) -> Result<()> {
    eprintln!("{}: {}", certificate.terms.words.saga, certificate.sum());
    let wrong = certificate.wrong();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub(super) fn write(certificate: &Certificate, page: &Path) -> Result<()> {
    std::fs::write(page, certificate.page()).with_context(|| format!("write {}", page.display()))?;
    println!("written: {}", page.display());
    Ok(())
}

fn played<C: Certified>(options: &Options) -> Result<Certificate> {
    on_servers(async |servers| run::<C>(servers, options).await)
}

/// On a PostgreSQL and a Kafka of its own, or on those of the environment.
pub(super) fn on_servers<T>(play: impl AsyncFnOnce(&'static Addresses) -> Result<T>) -> Result<T> {
    let servers = TestStack::shared().map_err(|error| anyhow!("{error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(play(servers))
}
