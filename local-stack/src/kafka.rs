use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::StackError;
use crate::artifacts::{Artifacts, remove_dir, run};
use crate::checkout::{make_dir, name_dir};
use crate::daemon::{Daemon, write_whole};
use crate::jvm::Jvm;
use crate::kafka_security::{KafkaSecurity, KafkaUser};
use crate::probe;
use crate::secrets::random_hex;
use crate::wait::{Look, until};

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_GRACE: Duration = Duration::from_secs(30);
const RULES_LIMIT: Duration = Duration::from_secs(10);

/// How a Kafka broker of ours is set up.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Port for clients on 127.0.0.1.
    pub port: u16,
    /// Port of the cluster's controller on 127.0.0.1.
    pub controller_port: u16,
    /// The id of the cluster that this node joins, as its second and as a broker alone. Without one it is the first of a
    /// cluster of its own, and the controller.
    pub joins: Option<String>,
    /// Folder for its configuration and its log segments; made by the first start.
    pub data: PathBuf,
    /// Most heap of the JVM. About as much again is used outside of it.
    pub heap_mb: u16,
    /// For servers that live for minutes: compile quickly rather than well.
    pub short_lived: bool,
    /// Listeners that encrypt, if there are any.
    pub security: Option<KafkaSecurity>,
    /// Further plain listeners, whose clients are sent elsewhere.
    pub detours: Vec<KafkaDetour>,
}

/// A listener that tells its clients to come by another port, where somebody stands between them and the broker.
#[derive(Clone, Copy, Debug)]
pub struct KafkaDetour {
    /// Where the broker listens, on 127.0.0.1.
    pub port: u16,
    /// Where it says that it does.
    pub advertised: u16,
}

/// A Kafka broker on this machine: one node that is broker and controller (KRaft), or a second one beside it.
#[derive(Debug)]
pub struct Kafka {
    settings: KafkaSettings,
    jvm: Jvm,
    daemon: Daemon,
}

impl Kafka {
    /// A broker that may or may not run; nothing is started.
    pub fn new(settings: KafkaSettings, artifacts: &Artifacts, daemon: Daemon) -> Self {
        let Artifacts {
            kafka_jars,
            java,
            log4j,
            ..
        } = artifacts.clone();
        let jvm = Jvm {
            java,
            jars: kafka_jars,
            log4j,
            heap_mb: settings.heap_mb,
            short_lived: settings.short_lived,
        };
        Self {
            settings,
            jvm,
            daemon,
        }
    }

    /// Host and port for clients.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.settings.port)
    }

    /// Host and port of each listener whose clients are sent elsewhere, in the order of the settings.
    pub fn detours(&self) -> Vec<String> {
        let detours = self.settings.detours.iter();
        detours
            .map(|detour| format!("127.0.0.1:{}", detour.port))
            .collect()
    }

    /// Host and port for clients that encrypt, if the broker has a listener for them.
    pub fn ssl_brokers(&self) -> Option<String> {
        let security = self.settings.security.as_ref()?;
        Some(format!("127.0.0.1:{}", security.ssl_port))
    }

    /// Host and port for clients that encrypt and log in, if the broker has a listener for them.
    pub fn sasl_ssl_brokers(&self) -> Option<String> {
        let security = self.settings.security.as_ref()?;
        Some(format!("127.0.0.1:{}", security.sasl_ssl_port))
    }

    /// Gives a user another password for SCRAM-SHA-512, as an operator does. The broker must run.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn set_password(&self, user: &KafkaUser) -> Result<(), StackError> {
        let mut command = self.command("kafka.admin.ConfigCommand");
        command
            .args(["--bootstrap-server", &self.brokers(), "--alter"])
            .args(["--entity-type", "users", "--entity-name", &user.name])
            .arg("--add-config")
            .arg(format!("SCRAM-SHA-512=[password={}]", user.password));
        run("set a password of Kafka", &mut command).map(drop)
    }

    /// Forbids a user who logs in to write to a topic, as an operator does; what others write there goes on. The broker
    /// must run, and have a listener for those who log in.
    ///
    /// # Errors
    /// If the broker refuses, or the rule is not in force within ten seconds.
    pub fn deny(&self, user: &str, topic: &str) -> Result<(), StackError> {
        let denied = format!("User:{user}");
        // A topic that has a rule is closed to all but whom a rule lets in; who may write may also see it.
        let rule = [
            "--allow-principal",
            "User:*",
            "--deny-principal",
            denied.as_str(),
            "--operation",
            "Write",
        ];
        self.rules(topic, "--add", &rule)?;
        self.until_rules(topic, |rules| rules.contains(&denied))
    }

    /// Everybody may do anything with a topic again, as if there had been no [`deny`](Self::deny).
    ///
    /// # Errors
    /// If the broker refuses, or the rules are still in force after ten seconds.
    pub fn allow(&self, topic: &str) -> Result<(), StackError> {
        self.rules(topic, "--remove", &["--force"])?;
        self.until_rules(topic, |rules| !rules.contains("principal="))
    }

    /// The controller answers when it has written a rule down; the broker goes by it when it has read that.
    fn until_rules(&self, topic: &str, holds: impl Fn(&str) -> bool) -> Result<(), StackError> {
        until("rules of a topic", RULES_LIMIT, || {
            match self.rules(topic, "--list", &[]) {
                Ok(rules) if holds(&rules) => Look::Ready,
                Ok(rules) => Look::NotYet(rules),
                Err(error) => Look::Never(error),
            }
        })
    }

    fn rules(&self, topic: &str, verb: &str, arguments: &[&str]) -> Result<String, StackError> {
        let mut command = self.command("org.apache.kafka.tools.AclCommand");
        command
            .args(["--bootstrap-server", &self.brokers(), verb, "--topic", topic])
            .args(arguments);
        run("see to who may write to a topic", &mut command)
    }

    /// A second broker of this one's cluster, on another port and without listeners that encrypt. Nothing is started.
    ///
    /// # Errors
    /// If this one has never been started.
    pub(crate) fn second(&self, port: u16, data: PathBuf, daemon: Daemon) -> Result<Self, StackError> {
        let path = self.log_dir().join("meta.properties");
        let text =
            fs::read_to_string(&path).map_err(StackError::io(|| format!("read {}", path.display())))?;
        let cluster_id = text
            .lines()
            .find_map(|line| line.strip_prefix("cluster.id="))
            .ok_or_else(|| StackError::Unavailable(format!("{} names no cluster", path.display())))?;
        Ok(Self {
            settings: KafkaSettings {
                port,
                data,
                joins: Some(cluster_id.to_owned()),
                security: None,
                detours: Vec::new(),
                ..self.settings.clone()
            },
            jvm: self.jvm.clone(),
            daemon,
        })
    }

    /// Starts the broker and waits until it answers; formats its folder first if it is new. Harmless if it runs.
    ///
    /// # Errors
    /// If it cannot be formatted or started, or does not answer within one and a half minutes.
    pub fn start(&self) -> Result<(), StackError> {
        if self.daemon.pid().is_none() {
            let properties = self.configure()?;
            self.format(&properties)?;
            let mut command = self.command("kafka.Kafka");
            command.arg(&properties);
            self.daemon.spawn(&mut command)?;
        }
        self.daemon
            .wait_ready(START_LIMIT, || probe::kafka(&self.brokers()))
    }

    /// Controlled shutdown.
    ///
    /// # Errors
    /// If the broker cannot be removed.
    pub fn stop(&self) -> Result<(), StackError> {
        self.daemon.stop(Signal::TERM, STOP_GRACE)
    }

    /// `kill -9`: the next start recovers its log segments.
    ///
    /// # Errors
    /// If the process cannot be removed.
    pub fn kill(&self) -> Result<(), StackError> {
        self.daemon.stop(Signal::KILL, Duration::ZERO)
    }

    /// Freezes the broker: connections stay open, nobody answers.
    pub fn pause(&self) {
        self.daemon.signal(Signal::STOP);
    }

    /// Wakes what [`pause`](Self::pause) froze.
    pub fn resume(&self) {
        self.daemon.signal(Signal::CONT);
    }

    /// Its process, if it runs.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Written anew at each start, so that a changed setting reaches folders that are already there.
    fn configure(&self) -> Result<PathBuf, StackError> {
        let KafkaSettings {
            port,
            controller_port,
            joins,
            data,
            security,
            detours,
            ..
        } = &self.settings;
        make_dir(data)?;
        let controller = format!("127.0.0.1:{controller_port}");
        let (roles, node, of_controller) = match joins {
            Some(_) => ("broker", 2, String::new()),
            None => ("broker,controller", 1, format!(",CONTROLLER://{controller}")),
        };
        let properties = data.join("server.properties");
        let mut clients = vec![format!("PLAINTEXT://127.0.0.1:{port}")];
        clients.extend(security.iter().flat_map(KafkaSecurity::listeners));
        let (mut listeners, mut advertised) = (clients.clone(), clients);
        let mut protocols = String::new();
        for (number, detour) in detours.iter().enumerate() {
            let KafkaDetour { port, advertised: at } = detour;
            listeners.push(format!("DETOUR_{number}://127.0.0.1:{port}"));
            advertised.push(format!("DETOUR_{number}://127.0.0.1:{at}"));
            protocols.push_str(&format!(",DETOUR_{number}:PLAINTEXT"));
        }
        let (listeners, advertised) = (listeners.join(","), advertised.join(","));
        let security = security
            .as_ref()
            .map_or(Ok(String::new()), |security| security.properties(data))?;
        let text = format!(
            "# Written by local-stack at each start.\n\
             process.roles={roles}\n\
             node.id={node}\n\
             controller.quorum.voters=1@{controller}\n\
             listeners={listeners}{of_controller}\n\
             advertised.listeners={advertised}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL{protocols}\n\
             log.dirs={}\n\
             num.partitions=12\n\
             # Topics come from the registry (`sagactl migrate`); a typing error must not become a topic.\n\
             auto.create.topics.enable=false\n\
             # Mostly there is one node: what is Kafka's own has one replica.\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=12\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             # A killed consumer is missed within a second where a test asks for that (default 6 s).\n\
             group.min.session.timeout.ms=1000\n\
             group.consumer.min.session.timeout.ms=1000\n\
             group.consumer.min.heartbeat.interval.ms=100\n\
             group.initial.rebalance.delay.ms=0\n\
             # The default takes 128 MB of the heap.\n\
             log.cleaner.dedupe.buffer.size=16777216\n\
             controlled.shutdown.max.retries=1\n\
             # After a crash the open segment of each partition is read again, up to 1 GB of it by default.\n\
             log.segment.bytes=33554432\n\
             {security}",
            self.log_dir().display()
        );
        write_whole(&properties, text.as_bytes())?;
        Ok(properties)
    }

    fn format(&self, properties: &Path) -> Result<(), StackError> {
        if self.log_dir().join("meta.properties").is_file() {
            return Ok(());
        }
        // It gets its name once it is whole: who is interrupted begins anew.
        let unfinished = self.log_dir().with_extension("unfinished");
        remove_dir(&unfinished)?;
        let of_unfinished = properties.with_extension("unfinished");
        let text = fs::read_to_string(properties)
            .map_err(StackError::io(|| format!("read {}", properties.display())))?;
        let folder = |of: &Path| format!("log.dirs={}\n", of.display());
        write_whole(
            &of_unfinished,
            text.replace(&folder(&self.log_dir()), &folder(&unfinished))
                .as_bytes(),
        )?;
        let cluster_id = match &self.settings.joins {
            Some(cluster_id) => cluster_id.clone(),
            // 16 bytes in base64: 21 characters of any kind and one with four bits of padding.
            None => format!("{}A", &random_hex()?[..21]),
        };
        let mut command = self.command("kafka.tools.StorageTool");
        command
            .args(["format", "--cluster-id", &cluster_id, "--config"])
            .arg(&of_unfinished)
            .args(
                self.settings
                    .security
                    .iter()
                    .flat_map(KafkaSecurity::format_arguments),
            );
        run("format Kafka's folder", &mut command)?;
        name_dir(&unfinished, &self.log_dir())
    }

    fn command(&self, class: &str) -> Command {
        self.jvm.command(class, &self.settings.data)
    }

    fn log_dir(&self) -> PathBuf {
        self.settings.data.join("segments")
    }
}
