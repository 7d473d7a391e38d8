use crate::account::{Account, reachable};
use crate::artifacts::Artifacts;
use crate::jaeger::Jaeger;
use crate::kafka::{Kafka, KafkaSettings};
use crate::parts::{Part, Way};
use crate::ports::{self, offset};
use crate::postgres::{Postgres, PostgresSettings};
use crate::redis::Redis;
use crate::stack::{LocalStack, host_and_port};
use crate::{StackError, compose};

impl LocalStack {
    /// Starts the servers that are ours and do not run yet, all at the same time, and waits until each of them answers.
    ///
    /// # Errors
    /// What is missing on this machine, or which server did not come up.
    pub fn start_servers(&self) -> Result<(), StackError> {
        for part in self.placement.all(Way::Given) {
            let address = host_and_port(self.placement.given(part).unwrap_or_default());
            eprintln!("  {}: taken from the environment ({address})", part.name());
            if let (Part::Postgres | Part::Kafka, Err(reason)) = (part, part.probe(&address)) {
                return Err(StackError::Unavailable(format!(
                    "{} at {address}: {reason}",
                    part.name()
                )));
            }
        }
        let containers: Vec<Part> = self.placement.all(Way::Compose).collect();
        if !containers.is_empty() {
            compose::up(&self.checkout, self.ports, &containers)?;
        }
        let native: Vec<Part> = self.placement.all(Way::Native).collect();
        // Fetched once, before threads would do it at the same time.
        if native
            .iter()
            .any(|part| matches!(part, Part::Postgres | Part::Kafka))
        {
            Artifacts::fetch(&self.checkout, Account::for_postgres()?.as_ref())?;
        }
        std::thread::scope(|scope| {
            let starts: Vec<_> = native
                .iter()
                .map(|&part| scope.spawn(move || self.start_native(part)))
                .collect();
            let results = starts.into_iter().map(|start| {
                start
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            // All of them end before the first error is told.
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// Starts one server that is a process of this machine.
    ///
    /// # Errors
    /// If its port is taken, or it does not come up.
    pub fn start_native(&self, part: Part) -> Result<(), StackError> {
        let daemon = self.daemon(part.name());
        let port = self.ports.at(part.offset());
        let runs = daemon.pid().is_some();
        if !runs && !ports::is_free(port) {
            return Err(StackError::Unavailable(format!(
                "port {port}, which is {}'s, is taken by another program; end that program, or set {} to another \
                 base (such as {})",
                part.name(),
                ports::BASE_VARIABLE,
                self.ports.base().saturating_add(100)
            )));
        }
        let begin = std::time::Instant::now();
        match part {
            Part::Postgres => self.postgres()?.start()?,
            Part::Kafka => self.kafka()?.start()?,
            Part::Redis => self.redis().start()?,
            Part::Jaeger => self.jaeger()?.start()?,
            Part::Kafdrop => return Err(StackError::Unavailable(part.how_to_get(self.ports))),
        }
        match runs {
            true => eprintln!("  {}: runs already", part.name()),
            false => eprintln!(
                "  {}: started in {:.1?} on port {port}",
                part.name(),
                begin.elapsed()
            ),
        }
        Ok(())
    }

    pub(super) fn postgres(&self) -> Result<Postgres, StackError> {
        let account = Account::for_postgres()?;
        let artifacts = Artifacts::fetch(&self.checkout, account.as_ref())?;
        let settings = PostgresSettings {
            port: self.ports.at(offset::POSTGRES),
            data: reachable(account.as_ref(), &self.checkout.state().join("data"))?.join("postgres"),
            password: self.secrets.postgres_superuser.clone(),
            max_connections: 300,
            shared_buffers_mb: 256,
            fsync: true,
            tls: None,
            logical: false,
            follows: None,
        };
        Ok(Postgres::new(
            settings,
            &artifacts,
            account,
            self.daemon(Part::Postgres.name()),
        ))
    }

    fn kafka(&self) -> Result<Kafka, StackError> {
        let artifacts = Artifacts::fetch(&self.checkout, Account::for_postgres()?.as_ref())?;
        let settings = KafkaSettings {
            port: self.ports.at(offset::KAFKA),
            controller_port: self.ports.at(offset::KAFKA_CONTROLLER),
            joins: None,
            data: self.checkout.state().join("data/kafka"),
            heap_mb: 1024,
            short_lived: false,
            security: None,
            detours: Vec::new(),
        };
        Ok(Kafka::new(settings, &artifacts, self.daemon(Part::Kafka.name())))
    }

    fn jaeger(&self) -> Result<Jaeger, StackError> {
        let (query, otlp) = (
            self.ports.address(offset::JAEGER),
            self.ports.address(offset::OTLP),
        );
        let data = self.checkout.state().join("data/jaeger");
        Jaeger::new(
            &self.checkout,
            query,
            otlp,
            data,
            self.daemon(Part::Jaeger.name()),
        )
    }

    pub(super) fn redis(&self) -> Redis {
        let data = self.checkout.state().join("data/redis");
        Redis::new(
            self.ports.at(offset::REDIS),
            data,
            self.secrets.redis.clone(),
            self.daemon(Part::Redis.name()),
        )
    }
}
