use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::view;
use crate::failure::{Code, Failure};
use crate::ops::unsent::{self, Discarded, Subject, Unsent};
use crate::ops::{Account, Ops, cut, say_if_cut};
use crate::screen::{self, Output};
use crate::settings::Settings;

/// The relay looks once a second.
const POLL: Duration = Duration::from_millis(200);

/// What is parked in which service's outbox.
#[derive(Debug, Serialize)]
pub(super) struct InService {
    pub(super) service: &'static str,
    #[serde(flatten)]
    pub(super) unsent: Unsent,
}

pub(super) async fn list(settings: &Settings, output: Output) -> Result<Code, Failure> {
    let mut ops = Ops::connect(settings).await?;
    let (mut all, mut more) = (Vec::new(), false);
    for service in &mut ops.services {
        let failed = service.failed("list what cannot be sent");
        let mut parked = unsent::list(&mut service.connection).await.map_err(failed)?;
        more |= cut(&mut parked);
        all.extend(parked.into_iter().map(|unsent| InService {
            service: service.name,
            unsent,
        }));
    }
    let now = chrono::Utc::now();
    screen::show(output, &all, |all| view::list(all, now));
    say_if_cut(more);
    Ok(match ops.conclude() {
        Code::Ok if !all.is_empty() => Code::No,
        code => code,
    })
}

pub(super) async fn show(settings: &Settings, subject: Subject<'_>, output: Output) -> Result<Code, Failure> {
    let mut service = Ops::of(settings, subject.service).await?;
    let failed = service.failed("look at what cannot be sent");
    let found = unsent::get(&mut service.connection, subject)
        .await
        .map_err(&failed)?
        .ok_or_else(|| not_parked(subject))?;
    let events = unsent::events(&mut service.connection, subject)
        .await
        .map_err(failed)?;
    let views: Vec<_> = events.iter().map(view::event_json).collect();
    let now = chrono::Utc::now();
    screen::show(output, &json!({ "parked": found, "events": views }), |_| {
        view::one(&found, &events, now)
    });
    Ok(Code::Ok)
}

pub(super) async fn replay(
    settings: &Settings,
    subject: Subject<'_>,
    wait: Duration,
    account: &Account,
) -> Result<Code, Failure> {
    let person = account.person()?;
    let mut service = Ops::of(settings, subject.service).await?;
    let failed = service.failed("ask for a replay");
    let asked = unsent::request_replay(&mut service.connection, subject, &account.reason, &person)
        .await
        .map_err(failed)?;
    if !asked {
        return Err(not_parked(subject));
    }
    let begin = Instant::now();
    loop {
        let failed = service.failed("look after a replay");
        match unsent::get(&mut service.connection, subject)
            .await
            .map_err(failed)?
        {
            None => {
                screen::say(format!("{subject}: sent, nothing is parked any more"));
                return Ok(Code::Ok);
            }
            Some(unsent) if !unsent.replaying => {
                screen::say(format!(
                    "{subject}: still refused, {} event(s) left: {}",
                    unsent.events, unsent.detail
                ));
                return Ok(Code::No);
            }
            Some(_) if begin.elapsed() > wait => {
                let text = format!(
                    "{subject}: not sent within {} s; does the relay run? It stays asked for",
                    wait.as_secs()
                );
                return Err(Failure::new(Code::Unavailable, text));
            }
            Some(_) => tokio::time::sleep(POLL).await,
        }
    }
}

pub(super) async fn discard(
    settings: &Settings,
    subject: Subject<'_>,
    only: Option<Uuid>,
    yes: bool,
    account: &Account,
) -> Result<Code, Failure> {
    let person = account.person()?;
    let mut service = Ops::of(settings, subject.service).await?;
    let failed = service.failed("discard what cannot be sent");
    let found = unsent::get(&mut service.connection, subject)
        .await
        .map_err(&failed)?
        .ok_or_else(|| not_parked(subject))?;
    let what = match only {
        Some(id) => format!("event {id} of {subject}"),
        None => format!("all {} event(s) of {subject}", found.events),
    };
    if !yes && !screen::confirmed(&format!("Throw away {what}? No consumer will see them. [y/N] "))? {
        return Err(Failure::new(Code::No, "nothing was discarded"));
    }
    let gone = unsent::discard(&mut service.connection, subject, only, &account.reason, &person)
        .await
        .map_err(failed)?;
    match (gone, only) {
        (Discarded::NotParked, _) => Err(not_parked(subject)),
        (Discarded::BeingReplayed, _) => Err(Failure::new(
            Code::No,
            format!("{subject} is being sent again right now; nothing was discarded"),
        )),
        (Discarded::Events(0), Some(id)) => Err(Failure::not_found(format!("{subject} has no event {id}"))),
        (Discarded::Events(count), _) => {
            screen::say(format!(
                "discarded {count} event(s) of {subject}; the rest goes out"
            ));
            Ok(Code::Ok)
        }
    }
}

fn not_parked(subject: Subject<'_>) -> Failure {
    Failure::not_found(format!("{subject} is not parked; see 'sagactl outbox parked'"))
}
