use std::process::ExitCode;
use std::time::Duration;

use outbox_relay::preflight::{self, Verdict};

use crate::config::Config;

/// Looks at each outbox, and says what is wrong. Exit code 1 if something is.
pub(crate) async fn check(config: Config) -> anyhow::Result<ExitCode> {
    let mut worst = Verdict::Fine;
    for options in config.options("check", Duration::from_secs(10)) {
        println!("{}", options.source);
        for finding in preflight::check(&options).await {
            println!("  {:<6} {}", finding.verdict, finding.says);
            if !finding.remedy.is_empty() {
                println!("         {}", finding.remedy);
            }
            worst = worst.max(finding.verdict);
        }
    }
    Ok(ExitCode::from(u8::from(worst == Verdict::Wrong)))
}
