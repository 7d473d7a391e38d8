use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use local_stack::{Proxy, TestStack, TestStackOptions};

use crate::chaos::fault::{CLOCKS, LINES, Line, SHOPPERS, STANDBY};
use crate::chaos::notes;
use crate::clock::Clocks;
use crate::program::Program;
use crate::system::{Detours, Peer, Settings, System, SystemOptions};

/// How long an order waits for its payment. Outages last up to six seconds, and several come at the same time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How long a page stays open.
const PAGE_DEADLINE: Duration = Duration::from_secs(12);

/// The shop with everything that can be broken, in the order in which it ends.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) standby: Program,
    pub(crate) system: System,
    pub(crate) clocks: Clocks,
    proxies: BTreeMap<Line, Proxy>,
    pub(crate) stack: TestStack,
}

impl Ground {
    /// Starts all of it. `finished`: a folder with released programs.
    pub(crate) async fn prepare(finished: Option<PathBuf>) -> Result<Self> {
        let mut proxies = BTreeMap::new();
        for line in LINES {
            proxies.insert(*line, Proxy::open().await?);
        }
        let brokers: Vec<&Line> = LINES.iter().filter(|(_, peer)| *peer == Peer::Broker).collect();
        let options = TestStackOptions {
            kafka_detours: brokers.iter().map(|line| proxies[line].port()).collect(),
            ..TestStackOptions::default()
        };
        let stack = tokio::task::spawn_blocking(move || TestStack::with_options(&options)).await??;
        for (line, address) in brokers.into_iter().zip(stack.kafka().detours()) {
            proxies[line].lead_to(&address)?;
        }

        let detours: Detours = proxies
            .iter()
            .map(|(line, proxy)| (*line, proxy.port()))
            .collect();
        let clocks = Clocks::new(&stack.dir().join("clocks"))?;
        let mut settings = Settings::new();
        for program in CLOCKS.iter().copied() {
            settings.insert(program, clocks.settings(program)?);
        }
        let millis = |time: Duration| time.as_millis().to_string();
        for (program, key, value) in [
            ("order", "ORDER_CARD_DEADLINE_MS", millis(DEADLINE)),
            ("order", "ORDER_PAGE_DEADLINE_MS", millis(DEADLINE)),
            ("payment", "PAYMENT_PAGE_DEADLINE_MS", millis(PAGE_DEADLINE)),
            // So that a call that was held up, or whose caller was killed, is made again while there is still chaos.
            ("payment", "PAYMENT_PROVIDER_CALL_TIMEOUT_MS", "1000".to_owned()),
            // A provider that loses answers takes a second for each, and a call holds its place so long.
            ("payment", "PAYMENT_EFFECTS_CONCURRENCY", "256".to_owned()),
            // No outage lasts so long that a refund would have to wait for a person.
            ("payment", "PAYMENT_REFUND_ATTEMPTS", "500".to_owned()),
        ] {
            settings.entry(program).or_default().insert(key.to_owned(), value);
        }
        let options = SystemOptions {
            finished,
            detours,
            settings,
            unwitnessed: true,
            ..SystemOptions::default()
        };
        let system = System::prepare(&stack.addresses(), &options).await?;
        notes::post(&system).await?;
        for ((_, peer), proxy) in &proxies {
            match peer {
                Peer::Database => proxy.lead_to(&stack.postgres().address())?,
                Peer::Provider => proxy.lead_to(&system.address("payment-sandbox"))?,
                Peer::Webhook => proxy.lead_to(&system.address("webhook"))?,
                Peer::Order => proxy.lead_to(&system.address("order"))?,
                Peer::Broker => {}
            }
        }
        system.restore().await?;
        let standby = system.another("outbox-relay", STANDBY)?;
        standby.start_ready().await?;
        Ok(Self {
            standby,
            system,
            clocks,
            proxies,
            stack,
        })
    }

    /// The proxy on a line.
    pub(crate) fn proxy(&self, line: Line) -> &Proxy {
        &self.proxies[&line]
    }

    /// The proxies on every line of a party, in one order for everybody.
    pub(crate) fn lines_of(&self, party: &str) -> Vec<Line> {
        let ends_at = |peer: Peer| match peer {
            Peer::Database => "postgresql",
            Peer::Broker => "kafka",
            Peer::Provider => "payment-sandbox",
            Peer::Webhook => "payment",
            Peer::Order => "order",
        };
        let all = self.proxies.keys().copied();
        all.filter(|(from, to)| *from == party || ends_at(*to) == party)
            .collect()
    }

    /// A program by the name of its instance.
    pub(crate) fn program(&self, name: &str) -> &Program {
        if name == STANDBY {
            &self.standby
        } else {
            self.system.program(name)
        }
    }

    /// All programs that are meant to run.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.system.programs().iter().chain([&self.standby])
    }

    /// Where shoppers call.
    pub(crate) fn door(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy((SHOPPERS, Peer::Order)).port())
    }

    /// Waits until everything is ready, with all faults over.
    pub(crate) async fn ready(&self) -> Result<()> {
        for program in self.programs() {
            crate::wait::until(&format!("{} to be ready", program.name), async || {
                program.ready().await
            })
            .await?;
        }
        Ok(())
    }
}
