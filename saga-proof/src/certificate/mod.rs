//! The failure certificate: every step of a saga against every fault that it can have, with real processes, a real PostgreSQL
//! and a real Apache Kafka.
//!
//! 1. **Rehearsal.** On each path some sagas are watched: the programs note which fault points they pass because of them,
//!    and with what.
//! 2. **Plan.** A step is a program, a point and an occasion; a case is a step with one of the faults of its point. Points
//!    that belong to no saga (a lease, a rotation) are cases of their process.
//! 3. **Cases.** Each has a saga of its own, for which alone the fault is armed, so many run in one system at the same time.
//!    What crashes is started again. A case holds if the fault has happened, the saga ended as its path does, nothing is
//!    left over, its events are in the topics once or known to be repeated, in order, and the books balance.
//! 4. **Page.** In Markdown, if it was the whole.
//!
//! For most sagas a [`Script`] says all that has to be said: how one is begun over HTTP, what is done to it on each path, and how each
//! part has it in the end. Whoever needs more says what there is, how a saga is walked and what has to be true in the end
//! ([`Certified`]); the rest is here.
//!
//! ```no_run
//! use std::path::Path as FilePath;
//! use std::process::ExitCode;
//!
//! use anyhow::Result;
//! use local_stack::Addresses;
//! use quadrille_process::fault::Point;
//! use saga_core::Topic;
//! use saga_proof::certificate::{self, Certified, Path, Saga, Setting, Words};
//! use saga_proof::stage::{Part, Parts, System};
//!
//! struct Library(System);
//!
//! impl Certified for Library {
//!     const WORDS: Words = Words {
//!         saga: "loan saga",
//!         command: "cargo run --bin certificate",
//!         books: "every copy is on the shelf or lent",
//!         ..Words::PLAIN
//!     };
//!     const NEVER: &'static [(&'static [Point], &'static str)] = &[(Point::WEBHOOKS, "nobody calls the library")];
//!
//!     fn paths() -> Vec<Path> {
//!         vec![
//!             Path::new("returned", "Lent, and brought back."),
//!             Path::new("kept", "Lent, and not brought back: a reminder is sent."),
//!         ]
//!     }
//!
//!     async fn open(servers: &Addresses) -> Result<Self> {
//!         let parts = Parts::of_workspace(env!("CARGO_MANIFEST_DIR"))
//!             .topics(&[Topic::new("loan-events"), Topic::new("desk-events")])
//!             .with(Part::service("desk").listening("LISTEN"))
//!             .with(Part::service("shelf"));
//!         Ok(Self(System::start(servers, parts).await?))
//!     }
//!
//!     fn setting(&self) -> Setting<'_> {
//!         self.0.setting()
//!     }
//!
//!     async fn walk(&self, saga: &Saga) -> Result<()> {
//!         let _desk = format!("{}/loans/{}", self.0.address("desk"), saga.token);
//!         // Ask for the book; on the path "returned" bring it back; wait until the loan has ended.
//!         Ok(())
//!     }
//!
//!     async fn balance(&self, saga: &Saga) -> Result<Vec<String>> {
//!         let lent: i64 = sqlx::query_scalar("select count(*) from copy where loan = $1")
//!             .bind(saga.token)
//!             .fetch_one(self.0.database("shelf"))
//!             .await?;
//!         let kept = i64::from(saga.path == "kept");
//!         Ok(if lent == kept { vec![] } else { vec![format!("{lent} copies are lent")] })
//!     }
//! }
//!
//! fn main() -> Result<ExitCode> {
//!     certificate::main::<Library>(FilePath::new("docs/certificate.md"))
//! }
//! ```

/// What is certified.
mod certified;
/// The program, and the test.
mod command;
/// Where faults are armed.
mod drawer;
/// Whether all is well with one saga.
mod judge;
/// What the topics hold.
mod log;
/// The page that is written.
mod page;
/// The ways through a saga.
mod path;
/// Which cases there are.
mod plan;
/// One case.
mod play;
/// What was walked, for replays and audits.
mod recording;
/// All of them.
mod run;
/// A certificate that is said, not programmed.
mod script;
/// What is known before anything is started.
mod terms;
/// The path of what cannot be sent.
mod unsendable;
/// Who starts again what has ended.
mod warden;

pub use certified::{Certified, Setting, Words};
pub use command::{main, sample, whole};
pub use path::{Path, Saga};
pub use quadrille_process::fault::Point;
pub use run::{Certificate, Options, run};
pub use script::{Act, Ask, CERTIFICATE, Mistake, RECORDED, Script, delete, due, post, put};
pub use unsendable::UNSENDABLE_TYPES;
