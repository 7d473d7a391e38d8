use std::time::{Duration, Instant};

use crate::failure::{Code, Failure};
use crate::ops::{Service, parked};
use crate::screen;

/// Who asks for a replay, and why.
pub(super) struct Request<'a> {
    pub(super) participant: &'a str,
    pub(super) reason: &'a str,
    pub(super) person: &'a str,
    pub(super) wait: Duration,
}

/// The service looks once a second.
const POLL: Duration = Duration::from_millis(200);

/// Asks for one key, and waits until the service has decided it.
pub(super) async fn one(service: &mut Service, request: &Request<'_>, key: &str) -> Result<Code, Failure> {
    if !ask(service, request, key).await? {
        return Err(super::not_parked(request.participant, key));
    }
    wait(service, request, key).await
}

/// Asks for every key, some at a time, and waits for each. What somebody else frees meanwhile is as good.
pub(super) async fn all(service: &mut Service, request: &Request<'_>) -> Result<Code, Failure> {
    let (mut code, mut after) = (Code::Ok, String::new());
    loop {
        let failed = service.failed("list what is parked");
        let keys = parked::next(&mut service.connection, request.participant, &after)
            .await
            .map_err(failed)?;
        let Some(last) = keys.last() else {
            break;
        };
        for key in &keys {
            ask(service, request, key).await?;
        }
        for key in &keys {
            match wait(service, request, key).await? {
                Code::Ok => {}
                worse => code = worse,
            }
        }
        after.clone_from(last);
    }
    if after.is_empty() {
        screen::say(format!("nothing of {} is parked", request.participant));
    }
    Ok(code)
}

/// Says whether there is such a key.
async fn ask(service: &mut Service, request: &Request<'_>, key: &str) -> Result<bool, Failure> {
    let failed = service.failed("ask for a replay");
    parked::request_replay(
        &mut service.connection,
        request.participant,
        key,
        request.reason,
        request.person,
    )
    .await
    .map_err(failed)
}

async fn wait(service: &mut Service, request: &Request<'_>, key: &str) -> Result<Code, Failure> {
    let participant = request.participant;
    let begin = Instant::now();
    let mut left = None;
    loop {
        let failed = service.failed("look after a replay");
        let parked = parked::get(&mut service.connection, participant, key)
            .await
            .map_err(failed)?;
        match parked {
            None => {
                screen::say(format!(
                    "{participant}/{key}: replayed, nothing is parked any more"
                ));
                return Ok(Code::Ok);
            }
            Some(parked) if !parked.replaying => {
                screen::say(format!(
                    "{participant}/{key}: still refused, {} message(s) left: {}",
                    parked.messages, parked.reason
                ));
                return Ok(Code::No);
            }
            Some(parked) => {
                if left != Some(parked.messages) {
                    screen::hint(format!(
                        "{participant}/{key}: {} message(s) to decide",
                        parked.messages
                    ));
                    left = Some(parked.messages);
                }
                if begin.elapsed() > request.wait {
                    return Err(Failure::new(
                        Code::Unavailable,
                        format!(
                            "{participant}/{key}: not replayed within {} s; does {participant} run? It stays asked for",
                            request.wait.as_secs()
                        ),
                    ));
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
