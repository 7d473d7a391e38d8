use crate::parts::{Part, Way};
use crate::ports::offset;
use crate::services::{SERVICES, Service};
use crate::stack::{LocalStack, host_and_port};
use crate::{Secrets, probe};

/// What runs where, as it is right now.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    state: State,
    how: String,
    place: String,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Absent,
}

impl Report {
    /// Asks every part and every service.
    pub fn take(stack: &LocalStack) -> Self {
        let parts = Part::ALL.into_iter().map(|part| part_row(stack, part));
        let services = SERVICES.iter().map(|service| service_row(stack, service));
        Self {
            rows: parts.chain(services).collect(),
        }
    }

    /// Whether everything that belongs to the stack answers.
    pub fn is_healthy(&self) -> bool {
        self.rows.iter().all(|row| row.state != State::Down)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = self
            .rows
            .iter()
            .map(|row| row.how.len())
            .max()
            .unwrap_or_default();
        writeln!(f, "{:<16} {:<6} {:<how$}  where", "part", "state", "how")?;
        for Row {
            name,
            state,
            how: way,
            place,
        } in &self.rows
        {
            let state = match state {
                State::Up => "up",
                State::Down => "DOWN",
                State::Absent => "-",
            };
            writeln!(f, "{name:<16} {state:<6} {way:<how$}  {place}")?;
        }
        Ok(())
    }
}

fn part_row(stack: &LocalStack, part: Part) -> Row {
    let way = stack.placement().way(part);
    let ours = stack.ports().address(part.offset());
    let address = stack.placement().given(part).map_or(ours, host_and_port);
    let (name, daemon) = (part.name(), stack.daemon(part.name()));
    let how = match way {
        Way::Given => "given in the environment".to_owned(),
        Way::Compose => "Docker Compose".to_owned(),
        Way::Native => process("native", daemon.pid()),
        Way::Absent => String::new(),
    };
    if way == Way::Absent {
        return Row {
            name,
            state: State::Absent,
            how,
            place: part.how_to_get(stack.ports()),
        };
    }
    // A collector of OTLP speaks gRPC; that it was given has to be enough.
    let answer = if way == Way::Given && part == Part::Jaeger {
        Ok(())
    } else {
        part.probe(&address)
    };
    let place = match part {
        Part::Postgres => format!(
            "postgres://postgres@{address}/postgres (password: {})",
            Secrets::path(stack.checkout()).display()
        ),
        Part::Kafka => address,
        Part::Redis => format!("redis://{address}"),
        Part::Jaeger if way == Way::Given => format!("OTLP at {address}"),
        Part::Jaeger => format!(
            "http://{address} (OTLP at {})",
            stack.ports().address(offset::OTLP)
        ),
        Part::Kafdrop => format!("http://{address}"),
    };
    row(name, how, place, answer)
}

fn service_row(stack: &LocalStack, service: &Service) -> Row {
    let (name, daemon) = (service.name, stack.daemon(service.name));
    let admin = stack.ports().address(service.admin);
    let grpc = service
        .grpc
        .map(|offset| format!("grpc {}, ", stack.ports().address(offset)))
        .unwrap_or_default();
    let http = if name == "payment-sandbox" {
        format!("http://{}, ", stack.ports().address(offset::SANDBOX))
    } else {
        String::new()
    };
    let place = format!("{grpc}{http}admin http://{admin}");
    if let Some(pid) = daemon.pid() {
        let how = process("process", Some(pid));
        return row(name, how, place, probe::http(&admin, "/ready"));
    }
    // Containers of services are started by people with `docker compose`; what listens there is all that is known of them.
    if stack.placement().all(Way::Compose).next().is_some() && probe::listens(&admin) {
        let how = "Docker Compose".to_owned();
        return row(name, how, place, probe::http(&admin, "/ready"));
    }
    // Without a log it has never been started here: with `--servers-only`, say.
    let known = daemon.log().exists();
    let state = if known { State::Down } else { State::Absent };
    let place = if known {
        format!("see `local-stack logs {name}`")
    } else {
        "has not been started here".to_owned()
    };
    Row {
        name,
        state,
        how: String::new(),
        place,
    }
}

fn row(name: &'static str, how: String, place: String, answer: Result<(), String>) -> Row {
    match answer {
        Ok(()) => Row {
            name,
            state: State::Up,
            how,
            place,
        },
        Err(reason) => Row {
            name,
            state: State::Down,
            how,
            place: format!("{place}: {reason}"),
        },
    }
}

fn process(kind: &str, pid: Option<rustix::process::Pid>) -> String {
    pid.map_or_else(
        || kind.to_owned(),
        |pid| format!("{kind}, pid {}", pid.as_raw_nonzero()),
    )
}
