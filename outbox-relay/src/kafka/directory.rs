use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext};

use super::config::client;
use super::polled::Polled;
use super::topics::Found;
use crate::state::Shared;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks the broker about topics. It is kept: a client needs a third of a second for its first answer.
pub(crate) struct Directory {
    asker: Option<Arc<Polled<Asker>>>,
    admin: Option<Arc<AdminClient<DefaultClientContext>>>,
    listeners: Listeners,
}

/// The directories of a process: one for all outboxes whose events go to the same brokers. Each has eight threads, which would be
/// most of a process with a hundred outboxes.
#[derive(Default)]
pub(crate) struct Directories(Mutex<Vec<Known>>);

struct Known {
    /// librdkafka's properties.
    settings: Vec<(String, String)>,
    directory: Weak<Directory>,
}

impl Directory {
    /// Connects when it is asked for the first time.
    pub(crate) fn new(kafka: &[(String, String)]) -> Result<Self, KafkaError> {
        let config = client(kafka);
        let listeners = Listeners::default();
        // An admin client keeps to itself why it cannot connect.
        let asker = Polled::new(&config, Asker(listeners.clone()))?;
        Ok(Self {
            asker: Some(Arc::new(asker)),
            admin: Some(Arc::new(config.create()?)),
            listeners,
        })
    }

    /// A topic that is not in the answer does not exist, or we may not see it. Who asks is told why there is no answer.
    ///
    /// All topics are asked for, never one by its name: a broker that creates topics on sight would do so.
    pub(crate) async fn look_up(
        &self,
        names: &[String],
        who: &Arc<Shared>,
    ) -> Result<HashMap<String, Found>, KafkaError> {
        let (Some(asker), Some(admin)) = (self.asker.clone(), self.admin.clone()) else {
            return Err(KafkaError::Canceled);
        };
        let _listens = self.listeners.listen(who);
        let metadata =
            tokio::task::spawn_blocking(move || asker.client().fetch_metadata(None, ANSWER_WITHIN))
                .await
                .unwrap_or(Err(KafkaError::Canceled))
                .inspect_err(|_| self.listeners.tell_late(who))?;
        self.listeners.all_is_well();
        let mut found = HashMap::new();
        for topic in metadata.topics() {
            if topic.error().is_none() && names.iter().any(|name| name == topic.name()) {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                if partitions > 0 {
                    found.insert(
                        topic.name().to_owned(),
                        Found {
                            partitions,
                            max_message_bytes: None,
                        },
                    );
                }
            }
        }
        if found.is_empty() {
            return Ok(found);
        }
        for (name, limit) in limits(&admin, found.keys().cloned().collect()).await {
            if let Some(found) = found.get_mut(&name) {
                found.max_message_bytes = Some(limit);
            }
        }
        Ok(found)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Not on an async worker: their threads are joined.
        let gone = (self.asker.take(), self.admin.take());
        std::thread::spawn(move || drop(gone));
    }
}

impl Directories {
    /// The one for these brokers; it lasts for as long as somebody keeps it.
    pub(crate) fn of(&self, kafka: &[(String, String)]) -> Result<Arc<Directory>, KafkaError> {
        let mut known = self.lock();
        known.retain(|known| known.directory.strong_count() > 0);
        let there = known.iter().find(|known| known.settings == kafka);
        if let Some(directory) = there.and_then(|known| known.directory.upgrade()) {
            return Ok(directory);
        }
        let directory = Arc::new(Directory::new(kafka)?);
        known.push(Known {
            settings: kafka.to_vec(),
            directory: Arc::downgrade(&directory),
        });
        Ok(directory)
    }

    /// Nobody else gets this one: what it was made with, such as a certificate's file, may be mended by now.
    pub(crate) fn give_up(&self, broken: &Arc<Directory>) {
        self.lock()
            .retain(|known| !std::ptr::eq(known.directory.as_ptr(), Arc::as_ptr(broken)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the settings: they hold passwords.
impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directories").finish_non_exhaustive()
    }
}

/// Who waits for an answer, and is to know why there is none.
#[derive(Clone, Default)]
struct Listeners(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    waiting: Vec<Arc<Shared>>,
    /// What the client said since the last answer. It says so once.
    last: Option<(KafkaError, String)>,
}

struct Listening<'l> {
    listeners: &'l Listeners,
    who: Arc<Shared>,
}

impl Listeners {
    fn listen(&self, who: &Arc<Shared>) -> Listening<'_> {
        self.lock().waiting.push(who.clone());
        Listening {
            listeners: self,
            who: who.clone(),
        }
    }

    fn tell(&self, error: KafkaError, reason: &str) {
        let mut told = self.lock();
        for who in &told.waiting {
            who.broker_trouble(&error, reason);
        }
        told.last = Some((error, reason.to_owned()));
    }

    /// Somebody whose question failed, and who may have asked it after the client said why.
    fn tell_late(&self, who: &Shared) {
        if let Some((error, reason)) = &self.lock().last {
            who.broker_trouble(error, reason);
        }
    }

    fn all_is_well(&self) {
        self.lock().last = None;
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut told = self.listeners.lock();
        let place = told.waiting.iter().position(|who| Arc::ptr_eq(who, &self.who));
        if let Some(place) = place {
            told.waiting.swap_remove(place);
        }
    }
}

/// Who asks. Sends nothing; only a producer tells of its troubles while it waits.
struct Asker(Listeners);

impl ClientContext for Asker {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.tell(error, reason);
    }
}

impl ProducerContext for Asker {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// `max.message.bytes` of each topic. Without the right to describe configurations there is no answer,
/// and the broker is the judge.
async fn limits(admin: &AdminClient<DefaultClientContext>, names: Vec<String>) -> Vec<(String, usize)> {
    let resources: Vec<ResourceSpecifier<'_>> =
        names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
    let described = match admin.describe_configs(&resources, &options).await {
        Ok(described) => described,
        Err(error) => {
            tracing::debug!(%error, "topic configurations cannot be read");
            return Vec::new();
        }
    };
    let limit = |resource: rdkafka::admin::ConfigResourceResult| {
        let resource = resource.ok()?;
        let limit = resource
            .get("max.message.bytes")?
            .value
            .as_deref()?
            .parse()
            .ok()?;
        match resource.specifier {
            rdkafka::admin::OwnedResourceSpecifier::Topic(name) => Some((name, limit)),
            _ => None,
        }
    };
    described.into_iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    fn outbox(name: &str) -> Arc<Shared> {
        Arc::new(Shared::new(name.parse().expect("a name"), "it".to_owned()))
    }

    fn brokers(list: &str) -> Vec<(String, String)> {
        vec![("bootstrap.servers".to_owned(), list.to_owned())]
    }

    #[test]
    fn outboxes_with_the_same_brokers_share_one_until_it_is_given_up() -> Result<(), KafkaError> {
        let directories = Directories::default();
        let first = directories.of(&brokers("127.0.0.1:1"))?;
        let other = directories.of(&brokers("127.0.0.1:2"))?;
        assert!(Arc::ptr_eq(&first, &directories.of(&brokers("127.0.0.1:1"))?));
        assert!(!Arc::ptr_eq(&first, &other));
        directories.give_up(&first);
        let next = directories.of(&brokers("127.0.0.1:1"))?;
        assert!(!Arc::ptr_eq(&first, &next));
        // Somebody else is late to give up the first one.
        directories.give_up(&first);
        assert!(Arc::ptr_eq(&next, &directories.of(&brokers("127.0.0.1:1"))?));
        Ok(())
    }

    #[test]
    fn who_waits_is_told_and_who_asked_too_late_for_it_as_well() {
        let listeners = Listeners::default();
        let refused = KafkaError::Global(RDKafkaErrorCode::Authentication);
        let [waits, gone, late, after] = ["waits", "gone", "late", "after"].map(outbox);
        let waiting = listeners.listen(&waits);
        drop(listeners.listen(&gone));
        listeners.tell(refused, "the password is wrong");
        let told = Some("the password is wrong".to_owned());
        assert_eq!(waits.broker_reason(), told);
        assert_eq!(gone.broker_reason(), None);
        listeners.tell_late(&late);
        assert_eq!(late.broker_reason(), told);
        listeners.all_is_well();
        listeners.tell_late(&after);
        assert_eq!(after.broker_reason(), None);
        drop(waiting);
        assert!(listeners.lock().waiting.is_empty());
    }
}
